"""The whole DAG: the bootstrap, one span of some branches, and the relabelling of a span."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.orchestration import metadata, pipeline

from components.span_records import RELABELLED, TEACHER
from pipeline.bootstrap import bootstrap
from pipeline.config import Deployment
from pipeline.ingest import read_events
from pipeline.place import Place
from pipeline.student import Labelled, student_branch
from pipeline.teacher import relabelling, teacher_branch


def bootstrap_pipeline(deployment: Deployment, place: Place) -> pipeline.Pipeline:
    """The pipeline that runs once, before the first span."""
    return _pipeline(f"{deployment.name}-bootstrap", deployment, place, bootstrap(deployment, place))


def span_pipeline(
    deployment: Deployment,
    place: Place,
    span: int,
    version: int = 0,
    branches: Sequence[str] | None = None,
) -> pipeline.Pipeline:
    """The pipeline of one span.

    Args:
        deployment: The configuration.
        place: Where the run keeps what.
        span: The span.
        version: Of the span.
        branches: The teacher's and surfaces', or some of them; all, when None. Surfaces without the teacher
            read the span themselves and find its labels in the store.
    """
    chosen = all_branches(deployment) if branches is None else branches
    surfaces = [branch for branch in chosen if branch != TEACHER]
    if TEACHER in chosen:
        teacher = teacher_branch(deployment, place, span, version)
        first, labelled = teacher.components, Labelled(teacher.read.examples, teacher.labeller)
    else:
        surface = surfaces[0] if len(surfaces) == 1 else ""
        reader = read_events(deployment, place, range(span, span + 1), version, surface)
        first, labelled = [reader], Labelled(reader.outputs["examples"], None)
    students = [
        component
        for surface in surfaces
        for component in student_branch(deployment, place, span, version, surface, labelled)
    ]
    return _pipeline(f"{deployment.name}-span", deployment, place, [*first, *students])


def relabel_pipeline(deployment: Deployment, place: Place, span: int, version: int = 0) -> pipeline.Pipeline:
    """The pipeline that labels a span that is past, with the teacher of then, and learns nothing of it."""
    return _pipeline(
        f"{deployment.name}-{RELABELLED}", deployment, place, relabelling(deployment, place, span, version)
    )


def all_branches(deployment: Deployment) -> tuple[str, ...]:
    """The teacher's branch, then every surface's."""
    return (TEACHER, *deployment.surfaces)


def _pipeline(name: str, deployment: Deployment, place: Place, components: list) -> pipeline.Pipeline:
    return pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=place.artifacts,
        components=components,
        # A span's inputs are found at run time (SpanState, the event log), where the cache cannot see them.
        enable_cache=False,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(place.metadata),
        beam_pipeline_args=list(deployment.beam_pipeline_args),
    )
