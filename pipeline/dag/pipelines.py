"""Builds the TFX pipelines: the burn-ins, one span of some branches, and the labelling of a past span."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.context_managers.dsl_context_registry import new_registry
from tfx.orchestration import metadata, pipeline

from components.artifacts import IntOrPlaceholder
from components.span_records import BURN_IN, RELABELLED, TEACHER, surface_burn_in
from components.transforms.worker_package import with_worker_package
from pipeline.cluster import find_step
from pipeline.config import Deployment
from pipeline.dag.burn_in import burn_in_components
from pipeline.dag.ingest import read_events
from pipeline.dag.student import LabelledExamples, student_branch
from pipeline.dag.surface_burn_in import surface_burn_in_components
from pipeline.dag.surface_rename import surface_rename_components
from pipeline.dag.teacher import relabel_components, teacher_branch
from pipeline.paths import RunPaths


def burn_in_pipeline(deployment: Deployment, paths: RunPaths) -> pipeline.Pipeline:
    """The teacher's burn-in pipeline, which runs once before the first span."""
    with new_registry():
        components = burn_in_components(deployment, paths)
        return make_pipeline(f"{deployment.name}-{BURN_IN}", deployment, paths, components)


def surface_burn_in_pipeline(deployment: Deployment, paths: RunPaths, surface: str) -> pipeline.Pipeline:
    """The burn-in pipeline of a surface, which runs once, after the teacher's burn-in."""
    with new_registry():
        components = surface_burn_in_components(deployment, paths, surface)
        return make_pipeline(f"{deployment.name}-{surface_burn_in(surface)}", deployment, paths, components)


def surface_rename_pipeline(
    deployment: Deployment, paths: RunPaths, surface: str, was: str, last_span: int
) -> pipeline.Pipeline:
    """The pipeline that takes over the models of a renamed surface; see `surface_rename_components`."""
    with new_registry():
        components = surface_rename_components(deployment, paths, surface, was, last_span)
        return make_pipeline(f"{deployment.name}-{surface_burn_in(surface)}", deployment, paths, components)


def span_pipeline(
    deployment: Deployment,
    paths: RunPaths,
    span: int,
    version: int = 0,
    branches: Sequence[str] | None = None,
) -> pipeline.Pipeline:
    """The pipeline of one span of some branches; see `span_components`."""
    with new_registry():
        components = span_components(deployment, paths, span, version, branches)
        return make_pipeline(f"{deployment.name}-span", deployment, paths, components)


def span_components(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    version: IntOrPlaceholder = 0,
    branches: Sequence[str] | None = None,
) -> list[BaseComponent]:
    """Wires one span, in topological order.

    Args:
        deployment: The configuration.
        paths: The folders of the run.
        span: The span.
        version: The span version.
        branches: Names of the branches; None for all. Without the teacher's branch, the pipeline neither
            validates nor labels the span; another pipeline does.
    """
    branches = all_branches(deployment) if branches is None else branches
    surfaces = [branch for branch in branches if branch != TEACHER]
    if TEACHER in branches:
        teacher = teacher_branch(deployment, paths, span, version)
        first_components = teacher.components
        labelled = LabelledExamples(teacher.ingested.examples, teacher.labeller)
    else:
        surface = surfaces[0] if len(surfaces) == 1 else ""
        reader = read_events(deployment, paths, span, span, version, surface)
        first_components, labelled = [reader], LabelledExamples(reader.outputs["examples"], None)
    students = [
        component
        for surface in surfaces
        for component in student_branch(deployment, paths, span, version, surface, labelled)
    ]
    return [*first_components, *students]


def relabel_pipeline(
    deployment: Deployment, paths: RunPaths, span: int, version: int = 0, supersede: bool = False
) -> pipeline.Pipeline:
    """The pipeline that labels a past span; see `relabel_components`."""
    with new_registry():
        components = relabel_components(deployment, paths, span, version, supersede)
        return make_pipeline(f"{deployment.name}-{RELABELLED}", deployment, paths, components)


def all_branches(deployment: Deployment) -> tuple[str, ...]:
    """Returns the names of all branches: the teacher's, then every surface's."""
    return (TEACHER, *deployment.surfaces)


def make_pipeline(
    name: str, deployment: Deployment, paths: RunPaths, components: list[BaseComponent]
) -> pipeline.Pipeline:
    """Makes a pipeline of components and sets each component's Beam options.

    Build the components inside `new_registry()`: TFX's global registry never frees a component.
    """
    for component in components:
        options = find_step(deployment.all_steps, component.id).beam
        if options and isinstance(component, BaseBeamComponent):
            component.with_beam_pipeline_args(_beam_options(options, paths))
    return pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=paths.artifacts,
        components=components,
        # TFX's cache does not notice a change of the span records or the event log, which steps read.
        enable_cache=False,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(paths.metadata),
        beam_pipeline_args=_beam_options(deployment.beam_pipeline_args, paths),
    )


def _beam_options(options: Sequence[str], paths: RunPaths) -> list[str]:
    """Adds this project's code for remote workers; on Kubernetes the entrypoint of a step adds the code."""
    return list(options) if paths.on_cluster else with_worker_package(options)
