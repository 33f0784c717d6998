"""The whole DAG: the bootstrap, one span of some branches, and the relabelling of a span."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.context_managers.dsl_context_registry import new_registry
from tfx.orchestration import metadata, pipeline

from components.artifacts import Found
from components.span_records import RELABELLED, TEACHER
from pipeline.cluster import step_of
from pipeline.config import Deployment
from pipeline.dag.burn_in import bootstrap_components
from pipeline.dag.ingest import read_events
from pipeline.dag.student import Labelled, student_branch
from pipeline.dag.teacher import relabelling, teacher_branch
from pipeline.paths import RunPaths


def bootstrap_pipeline(deployment: Deployment, paths: RunPaths) -> pipeline.Pipeline:
    """The pipeline that runs once, before the first span."""
    with new_registry():
        return close(
            f"{deployment.name}-bootstrap", deployment, paths, bootstrap_components(deployment, paths)
        )


def span_pipeline(
    deployment: Deployment,
    paths: RunPaths,
    span: int,
    version: int = 0,
    branches: Sequence[str] | None = None,
) -> pipeline.Pipeline:
    """The pipeline of one span of some branches, all by default; see `span_components`."""
    with new_registry():
        components = span_components(deployment, paths, span, version, branches)
        return close(f"{deployment.name}-span", deployment, paths, components)


def span_components(
    deployment: Deployment,
    paths: RunPaths,
    span: Found,
    version: Found = 0,
    branches: Sequence[str] | None = None,
) -> list[BaseComponent]:
    """Wires one span, in topological order.

    Args:
        deployment: The configuration.
        paths: Where the run keeps what.
        span: The span.
        version: Of the span.
        branches: The teacher's and surfaces', or some of them; all, when None. Surfaces without the teacher
            read the span themselves and find its labels in the store.
    """
    chosen = all_branches(deployment) if branches is None else branches
    surfaces = [branch for branch in chosen if branch != TEACHER]
    if TEACHER in chosen:
        teacher = teacher_branch(deployment, paths, span, version)
        first, labelled = teacher.components, Labelled(teacher.read.examples, teacher.labeller)
    else:
        surface = surfaces[0] if len(surfaces) == 1 else ""
        reader = read_events(deployment, paths, span, span, version, surface)
        first, labelled = [reader], Labelled(reader.outputs["examples"], None)
    students = [
        component
        for surface in surfaces
        for component in student_branch(deployment, paths, span, version, surface, labelled)
    ]
    return [*first, *students]


def relabel_pipeline(
    deployment: Deployment, paths: RunPaths, span: int, version: int = 0
) -> pipeline.Pipeline:
    """The pipeline that labels a span that is past, with the teacher of then, and learns nothing of it."""
    with new_registry():
        components = relabelling(deployment, paths, span, version)
        return close(f"{deployment.name}-{RELABELLED}", deployment, paths, components)


def all_branches(deployment: Deployment) -> tuple[str, ...]:
    """The teacher's branch, then every surface's."""
    return (TEACHER, *deployment.surfaces)


def close(
    name: str, deployment: Deployment, paths: RunPaths, components: list[BaseComponent]
) -> pipeline.Pipeline:
    """Makes a pipeline of components, with the Beam options of each.

    They should be made under a `new_registry()`: TFX's global one keeps every component for ever.
    """
    for component in components:
        beam = step_of(deployment.all_steps, component.id).beam
        if beam and isinstance(component, BaseBeamComponent):
            component.with_beam_pipeline_args(list(beam))
    return pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=paths.artifacts,
        components=components,
        # A span's inputs are found at run time (SpanState, the event log), where the cache cannot see them.
        enable_cache=False,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(paths.metadata),
        beam_pipeline_args=list(deployment.beam_pipeline_args),
    )
