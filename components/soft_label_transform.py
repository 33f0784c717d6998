"""SoftLabelTransform: joins a surface's examples of a span with the label set that its fleet has pinned."""

import dataclasses
import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import IntOrPlaceholder
from components.beam_executor import BeamExecutor
from components.label_store.base import LabelSetRecord
from components.label_store.resolving import UnusableLabels, pin_span, pinned_sets
from components.label_store.schemes import open_store
from components.transforms.join_labels import JoinSoftLabels, join_span
from components.transforms.join_report import JoinReport
from components.transforms.join_settings import JoinSettings
from components.transforms.shards import SPLITS
from components.transforms.without_labels import (
    fall_back_to_hard_labels,
    fall_back_to_last_models,
    too_few_labels,
)
from eventlog.errors import BadInput
from eventlog.spans import parse_range
from models.settings import from_json, to_json


class SoftLabelTransformExecutor(BeamExecutor):
    """Pins the span's label set and joins it; if its labels are unusable, acts as `JoinSettings` says."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class.

        Raises:
            BadInput: with `without_labels: stop`, if no label set is usable or coverage is below the floor
                (not in `first_spans`). See also `join_span`.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        joined = artifact_utils.get_single_instance(output_dict["joined"])
        surface, span = exec_properties["surface"], exec_properties["span"]
        settings = from_json(JoinSettings, exec_properties["settings"])
        store = open_store(exec_properties["store"])
        delays = {name: task.delay for name, task in settings.tasks.items()}
        # Matured rows are joined with the set of their impressions' span; burn-in spans have no set.
        matured_spans = sorted({span - delay for delay in delays.values() if delay})
        earlier = pinned_sets(store, settings.fleet, matured_spans)
        # The span's own set is added in `_join`; the fallbacks without labels join only the earlier sets.
        join = JoinSoftLabels(
            examples_uri=examples.uri,
            output_uri=joined.uri,
            span=span,
            surface=surface,
            store_uri=exec_properties["store"],
            set_ids=[record.set_id for record in earlier],
            delays=delays,
            was=settings.was,
        )
        label_set, shortage = None, None
        try:
            label_set = pin_span(store, settings.fleet, settings.source, span)
            report = self._join(join, [label_set, *earlier], settings)
            shortage = too_few_labels(surface, report.coverage, settings.coverage_floor)
        except UnusableLabels as error:
            shortage = error
        if shortage is not None:
            is_first = settings.first_spans is not None and span in parse_range(settings.first_spans)
            action = "hard-only" if is_first else settings.without_labels
            report = self._fall_back(join, shortage, action)
        # TFX stores this property in MLMD with the execution, also if the set was pinned but not joined.
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

    def _join(
        self, join: JoinSoftLabels, records: list[LabelSetRecord], settings: JoinSettings
    ) -> JoinReport:
        if settings.events_table is None or settings.columns is None:
            with_sets = dataclasses.replace(join, set_ids=[record.set_id for record in records])
            return join_span(with_sets, self._beam_pipeline_args or [], self._get_tmp_dir())
        return join_in_bigquery(
            store_uri=join.store_uri,
            events_table=settings.events_table,
            columns=settings.columns.read(),
            output_uri=join.output_uri,
            span=join.span,
            surface=join.surface,
            records=records,
            delays=join.delays,
            history=settings.history,
            was=settings.was,
        )

    def _fall_back(self, join: JoinSoftLabels, shortage: BadInput, action: str) -> JoinReport:
        if action == "stop":
            raise shortage
        fall_back = fall_back_to_hard_labels if action == "hard-only" else fall_back_to_last_models
        return fall_back(join, str(shortage), self._beam_pipeline_args or [], self._get_tmp_dir())


def join_in_bigquery(*, store_uri: str, events_table: str, **join: Any) -> JoinReport:
    """Runs a `BigQueryJoin` in the dataset of a `bigquery:` label store."""
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
        "span": ExecutionParameter(type=int),
        "surface": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"joined": ChannelParameter(type=standard_artifacts.Examples)}


class SoftLabelTransform(base_beam_component.BaseBeamComponent):
    """Joins one surface's examples with the fleet's label set; runs after the span has been labelled.

    The component finds the set in the label store, not in the metadata of the teacher's pipeline. So a
    student's team can run a separate pipeline.
    """

    SPEC_CLASS = SoftLabelTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SoftLabelTransformExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        store: str,
        span: IntOrPlaceholder,
        surface: str,
        settings: JoinSettings,
    ):
        """Builds the component.

        Args:
            examples: Channel of the span's Examples, all surfaces.
            store: URI of the label store.
            span: The span.
            surface: The surface whose examples are joined.
            settings: Settings of the surface's join, from the deployment's configuration.
        """
        spec = SoftLabelTransformSpec(
            examples=examples,
            store=store,
            span=span,
            surface=surface,
            settings=to_json(settings),
            joined=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
