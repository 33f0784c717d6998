"""The burn-in pipeline: fits and freezes the transform graph, then trains the first teacher.

Reference: Khani et al., RecSys '24, Figure 1: a new teacher burns in first, students follow.
"""

from __future__ import annotations

from tfx.components import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import transform_pb2

from components.span_publisher import SpanPublisher
from components.span_records import BURN_IN
from components.span_state import SpanState
from components.transforms.shards import FRESH_SPLITS
from models.preprocessing import features_config, preprocessing_fn
from pipeline.config import Deployment
from pipeline.dag.ingest import ingest
from pipeline.dag.training import train_and_check
from pipeline.paths import RunPaths


def burn_in_components(deployment: Deployment, paths: RunPaths) -> list[BaseComponent]:
    """Wires the burn-in, in topological order. The teacher's first span and every surface need its record."""
    spans = deployment.burn_in_spans
    state = SpanState(
        records_folder=paths.records,
        branch=BURN_IN,
        span=spans[0],
        slots=("statistics", "fitted_statistics", "teacher"),
    )
    ingested = ingest(deployment, paths, spans[0], spans[-1], state, labelled_tasks=deployment.teacher.tasks)
    transform = Transform(
        examples=ingested.examples,
        schema=ingested.schema,
        preprocessing_fn=f"{preprocessing_fn.__module__}.{preprocessing_fn.__qualname__}",
        splits_config=transform_pb2.SplitsConfig(analyze=[FRESH_SPLITS[0]], transform=[]),
        materialize=False,
        disable_analyzer_cache=True,
        disable_statistics=True,
        custom_config=features_config(deployment.features),
    )
    transform.add_upstream_node(ingested.validator)
    graph = transform.outputs["transform_graph"]
    teacher = train_and_check(
        deployment, paths, deployment.teacher_job(), ingested.examples, graph, state.outputs["teacher"]
    )
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=BURN_IN,
        span=spans[-1],
        slots={
            "transform_graph": graph,
            "fitted_statistics": ingested.statistics,
            "statistics": ingested.statistics,
            "teacher": teacher.next_base,
        },
    )
    return [state, *ingested.components, transform, *teacher.components, publisher]
