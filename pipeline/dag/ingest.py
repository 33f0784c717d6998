"""The first steps of every pipeline: read a span's examples; before a teacher trains, also validate them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfx import types
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent

from components.artifacts import IntOrPlaceholder
from components.example_schema_gen import ExampleSchemaGen
from components.span_example_gen import NEWEST, SpanExampleGen
from components.span_state import SpanState
from components.span_statistics import SpanStatistics
from components.span_validator import SpanValidator
from models.settings import to_json
from pipeline.config import Deployment
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class IngestedSpans:
    """The validated examples of a span or of the burn-in, and the components that read and validate them.

    Attributes:
        components: In topological order.
        examples: Channel of Examples with splits `train`, `holdout`, `matured` and `matured_holdout`.
        statistics: Channel of the ExampleStatistics of all splits.
        schema: Channel of the deployment's Schema.
        validator: The SpanValidator; every component that uses the examples must run after it.
    """

    components: list[BaseComponent]
    examples: types.BaseChannel
    statistics: types.BaseChannel
    schema: types.BaseChannel
    validator: BaseComponent


def read_events(
    deployment: Deployment,
    paths: RunPaths,
    first: IntOrPlaceholder,
    last: IntOrPlaceholder,
    version: IntOrPlaceholder = NEWEST,
    surface: str = "",
    labelled_tasks: Sequence[str] = (),
) -> SpanExampleGen:
    """Wires the reading of the spans from `first` to `last`, both included; see `SpanExampleGen`."""
    return SpanExampleGen(
        events=str(paths.events),
        columns=deployment.event_columns,
        first_span=first,
        last_span=last,
        rows_per_shard=deployment.rows_per_shard,
        surface=surface,
        version=version,
        labelled_tasks=labelled_tasks,
        history=deployment.history_source(paths.events, paths.history),
    )


def _read_schema(deployment: Deployment) -> BaseComponent:
    if deployment.history is None:
        return ImportSchemaGen(schema_file=deployment.schema)
    return ExampleSchemaGen(schema_file=deployment.schema, history=to_json(deployment.history))


def ingest(
    deployment: Deployment,
    paths: RunPaths,
    first: IntOrPlaceholder,
    last: IntOrPlaceholder,
    state: SpanState,
    version: IntOrPlaceholder = NEWEST,
    labelled_tasks: Sequence[str] = (),
) -> IngestedSpans:
    """Wires the components that read spans, compute their statistics and validate them.

    Args:
        deployment: The configuration.
        paths: The folders of the run.
        first: The first span.
        last: The last span, included; equal to `first` except in the burn-in.
        state: SpanState with the slots `statistics` (of the previous span) and `fitted_statistics` (of the
            burn-in).
        version: The span version to read; NEWEST: the newest of each span.
        labelled_tasks: Tasks that must have a label in the spans.
    """
    schema = _read_schema(deployment)
    reader = read_events(deployment, paths, first, last, version, labelled_tasks=labelled_tasks)
    examples = reader.outputs["examples"]
    statistics = SpanStatistics(examples=examples, schema=schema.outputs["schema"])
    validator = SpanValidator(
        statistics=statistics.outputs["statistics"],
        previous_statistics=state.outputs["statistics"],
        fitted_statistics=state.outputs["fitted_statistics"],
        schema=schema.outputs["schema"],
        span=last,
        severities=to_json(deployment.validation.severities),
    )
    return IngestedSpans(
        components=[schema, reader, statistics, validator],
        examples=examples,
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        validator=validator,
    )
