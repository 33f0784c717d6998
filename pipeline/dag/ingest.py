"""What every pipeline begins with: a span's examples, its statistics, and their validation."""

from __future__ import annotations

import dataclasses
import json

from tfx import types
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent

from components.artifacts import Found
from components.span_example_gen import SpanExampleGen
from components.span_state import SpanState
from components.span_statistics import SpanStatistics
from components.span_validator import KINDS, SpanValidator
from components.transforms.shards import HELD_OUT_SPLITS, MATURED_SPLITS
from pipeline.config import Deployment
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class Ingest:
    """The validated examples of a span, for whatever follows.

    Attributes:
        components: In topological order.
        examples: Channel of Examples; splits `train`, `holdout`, `matured`, `matured_holdout`.
        statistics: Channel of their ExampleStatistics, fresh rows alone.
        schema: Channel of the deployment's Schema.
        validator: Must lie upstream of all that uses the examples.
    """

    components: list[BaseComponent]
    examples: types.BaseChannel
    statistics: types.BaseChannel
    schema: types.BaseChannel
    validator: BaseComponent


def read_events(
    deployment: Deployment, paths: RunPaths, first: Found, last: Found, version: Found = 0, surface: str = ""
) -> SpanExampleGen:
    """Wires the reading of spans, both ends included, of one surface or (empty) of all."""
    return SpanExampleGen(
        events=str(paths.events),
        first_span=first,
        last_span=last,
        rows_per_shard=deployment.rows_per_shard,
        surface=surface,
        version=version,
    )


def ingest(
    deployment: Deployment, paths: RunPaths, first: Found, last: Found, state: SpanState, version: Found = 0
) -> Ingest:
    """Wires the reading of spans and their validation.

    Args:
        deployment: The configuration.
        paths: Where the run keeps what.
        first: The first span.
        last: The last one: the same, but for the burn-in.
        state: Hands over the statistics of earlier spans (slots `statistics`, `fitted_statistics`).
        version: Of the one span.
    """
    schema = ImportSchemaGen(schema_file=deployment.schema)
    reader = read_events(deployment, paths, first, last, version)
    examples = reader.outputs["examples"]
    statistics = SpanStatistics(
        examples=examples, schema=schema.outputs["schema"], exclude_splits=[*HELD_OUT_SPLITS, *MATURED_SPLITS]
    )
    validator = SpanValidator(
        statistics=statistics.outputs["statistics"],
        previous_statistics=state.outputs["statistics"],
        fitted_statistics=state.outputs["fitted_statistics"],
        schema=schema.outputs["schema"],
        span=last,
        severities=json.dumps({kind: getattr(deployment.validation, kind) for kind in KINDS}),
    )
    return Ingest(
        components=[schema, reader, statistics, validator],
        examples=examples,
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        validator=validator,
    )
