"""SoftLabelTransform: joins a surface's examples of a span with the label set that its fleet has pinned."""

import dataclasses
import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Found
from components.beam_executor import BeamExecutor
from components.label_store.base import LabelSetRecord
from components.label_store.resolving import LabelSource, UnusableLabels, pin_span, pinned_sets
from components.label_store.schemes import open_store
from components.transforms.join_labels import JoinReport, JoinSoftLabels, join_span
from components.transforms.shards import SPLITS
from components.transforms.without_labels import (
    fall_back_to_hard_labels,
    fall_back_to_last_models,
    too_few_labels,
)
from eventlog.errors import BadInput
from eventlog.rows import MATURITY_SPANS
from eventlog.spans import parse_range
from models.settings import from_json, to_json
from models.tasks import Task


class SoftLabelTransformExecutor(BeamExecutor):
    """Pins the span's label set, joins it and checks the coverage; else applies the surface's policy."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class.

        Raises:
            BadInput: under policy `stop`, if there is no usable label set or the coverage is below the floor.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        joined = artifact_utils.get_single_instance(output_dict["joined"])
        surface, span = exec_properties["surface"], exec_properties["span"]
        store = open_store(exec_properties["store"])
        # Matured rows join the set of their impressions' span; burn-in spans have no set.
        earlier = pinned_sets(store, exec_properties["fleet"], [span - MATURITY_SPANS])
        tasks = from_json(dict[str, Task], exec_properties["tasks"])
        join = JoinSoftLabels(
            examples_uri=examples.uri,
            output_uri=joined.uri,
            span=span,
            surface=surface,
            store_uri=exec_properties["store"],
            set_ids=[record.set_id for record in earlier],
            delayed={name: task.delayed for name, task in tasks.items()},
        )
        label_set, shortage = None, None
        try:
            source = from_json(LabelSource, exec_properties["source"])
            label_set = pin_span(store, exec_properties["fleet"], source, span)
            report = self._join(join, [label_set, *earlier], exec_properties["events_table"])
            shortage = too_few_labels(surface, report.coverage, exec_properties["coverage_floor"])
        except UnusableLabels as error:
            shortage = error
        if shortage is not None:
            burn_in = exec_properties["bootstrap"]
            in_burn_in = bool(burn_in) and span in parse_range(burn_in)
            policy = "hard-only" if in_burn_in else exec_properties["without_labels"]
            report = self._fall_back(join, shortage, policy)
        # TFX stores these properties in MLMD with the execution.
        exec_properties["label_set"] = label_set.set_id if label_set is not None else ""
        joined.split_names = artifact_utils.encode_split_names(list(SPLITS))
        joined.span = span
        joined.version = 0
        set_records = earlier
        if label_set is not None and report.decision == "joined":
            set_records = [label_set, *earlier]
        joined.set_string_custom_property("label_sets", json.dumps([record.set_id for record in set_records]))
        joined.set_float_custom_property("coverage", report.coverage)
        joined.set_string_custom_property("decision", report.decision)

    def _join(self, join: JoinSoftLabels, records: list[LabelSetRecord], events_table: str) -> JoinReport:
        if not events_table:
            with_sets = dataclasses.replace(join, set_ids=[record.set_id for record in records])
            return join_span(with_sets, self._beam_pipeline_args or [], self._get_tmp_dir())
        return join_in_bigquery(
            store_uri=join.store_uri,
            events_table=events_table,
            output_uri=join.output_uri,
            span=join.span,
            surface=join.surface,
            records=records,
            delayed=join.delayed,
        )

    def _fall_back(self, join: JoinSoftLabels, shortage: BadInput, policy: str) -> JoinReport:
        if policy == "stop":
            raise shortage
        fall_back = fall_back_to_hard_labels if policy == "hard-only" else fall_back_to_last_models
        return fall_back(join, str(shortage), self._beam_pipeline_args or [], self._get_tmp_dir())


def join_in_bigquery(*, store_uri: str, events_table: str, **join: Any) -> JoinReport:
    """Runs a `BigQueryJoin` in the data set of a `bigquery:` label store."""
    # Imported here, so that a run without BigQuery does not load its clients.
    from components.event_store.event_table import EventTable
    from components.event_store.join_in_bigquery import BigQueryJoin
    from components.label_store.bigquery.location import parse_location

    location = parse_location(store_uri.partition("://")[2])
    return BigQueryJoin(events=EventTable(location, events_table), **join).run()


class SoftLabelTransformSpec(ComponentSpec):
    """See `SoftLabelTransform`."""

    PARAMETERS = {
        "store": ExecutionParameter(type=str),
        "fleet": ExecutionParameter(type=str),
        "source": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=int),
        "surface": ExecutionParameter(type=str),
        "tasks": ExecutionParameter(type=str),
        "events_table": ExecutionParameter(type=str),
        "coverage_floor": ExecutionParameter(type=float),
        "without_labels": ExecutionParameter(type=str),
        "bootstrap": ExecutionParameter(type=str),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"joined": ChannelParameter(type=standard_artifacts.Examples)}


class SoftLabelTransform(base_beam_component.BaseBeamComponent):
    """Joins one surface with the fleet's label set; runs after the span has been labelled.

    The set is resolved from the store and not from the teacher's metadata, so that a student's team can run
    its own pipeline.
    """

    SPEC_CLASS = SoftLabelTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SoftLabelTransformExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        store: str,
        fleet: str,
        source: LabelSource,
        span: Found,
        surface: str,
        tasks: dict[str, Task],
        events_table: str,
        coverage_floor: float,
        without_labels: str,
        bootstrap: str = "",
    ):
        """Builds the component.

        Args:
            examples: Channel of the span's Examples, all surfaces.
            store: URI of the label store.
            fleet: Name of the fleet: the students that read the same pinned sets.
            source: Rule by which the first student of the fleet chooses the set.
            span: The span.
            surface: The surface to keep.
            tasks: The teacher's tasks by name.
            events_table: BigQuery table of the same impressions, `PROJECT.DATASET.TABLE`; BigQuery then does
                the join. Empty: Beam joins the Examples.
            coverage_floor: Minimum share of fresh rows with a soft label, in [0, 1].
            without_labels: Policy: `stop`, `hard-only` or `last`.
            bootstrap: Burn-in spans `A:B` of the surface, whose policy is `hard-only`; empty: none.
        """
        spec = SoftLabelTransformSpec(
            examples=examples,
            store=store,
            fleet=fleet,
            source=to_json(source),
            span=span,
            surface=surface,
            tasks=to_json(tasks),
            events_table=events_table,
            coverage_floor=coverage_floor,
            without_labels=without_labels,
            bootstrap=bootstrap,
            joined=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
