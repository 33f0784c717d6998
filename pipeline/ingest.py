"""What every pipeline begins with: a span's examples, its statistics, and their validation."""

from __future__ import annotations

import dataclasses
import json

from tfx import types
from tfx.components import StatisticsGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent

from components.span_example_gen import SpanExampleGen
from components.span_state import SpanState
from components.span_validator import SpanValidator
from components.transforms.shards import MATURED_SPLITS
from pipeline.config import Deployment
from pipeline.place import Place


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


def ingest(deployment: Deployment, place: Place, spans: range, state: SpanState) -> Ingest:
    """Wires the reading of spans.

    Args:
        deployment: The configuration.
        place: Where the run keeps what.
        spans: One span, or the burn-in's.
        state: Hands over the statistics of earlier spans (slots `statistics`, `fitted_statistics`).
    """
    schema = ImportSchemaGen(schema_file=deployment.schema)
    reader = SpanExampleGen(
        events=str(place.events),
        first_span=spans[0],
        last_span=spans[-1],
        rows_per_shard=deployment.rows_per_shard,
    )
    examples = reader.outputs["examples"]
    statistics = StatisticsGen(
        examples=examples, schema=schema.outputs["schema"], exclude_splits=list(MATURED_SPLITS)
    )
    validator = SpanValidator(
        statistics=statistics.outputs["statistics"],
        previous_statistics=state.outputs["statistics"],
        fitted_statistics=state.outputs["fitted_statistics"],
        schema=schema.outputs["schema"],
        span=spans[-1],
        severities=json.dumps(dataclasses.asdict(deployment.validation)),
    )
    return Ingest(
        components=[schema, reader, statistics, validator],
        examples=examples,
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        validator=validator,
    )
