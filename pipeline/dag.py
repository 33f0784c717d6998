"""The whole DAG: the bootstrap, and one span of the teacher and of every surface."""

from __future__ import annotations

from tfx.orchestration import metadata, pipeline

from pipeline.bootstrap import bootstrap
from pipeline.config import Deployment
from pipeline.place import Place
from pipeline.student import student_branch
from pipeline.teacher import teacher_branch


def bootstrap_pipeline(deployment: Deployment, place: Place) -> pipeline.Pipeline:
    """The pipeline that runs once, before the first span."""
    return _pipeline(f"{deployment.name}-bootstrap", deployment, place, bootstrap(deployment, place))


def span_pipeline(deployment: Deployment, place: Place, span: int) -> pipeline.Pipeline:
    """The pipeline of one span: the teacher's branch, then each surface's."""
    teacher = teacher_branch(deployment, place, span)
    surfaces = [
        component
        for surface in deployment.surfaces
        for component in student_branch(deployment, place, span, surface, teacher)
    ]
    return _pipeline(f"{deployment.name}-span", deployment, place, [*teacher.components, *surfaces])


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
