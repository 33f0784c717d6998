"""SpanExampleGen: checks spans of the event log and writes them as shards of tf.Examples."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import IntOrPlaceholder
from components.beam_executor import BeamExecutor
from components.event_schema import EventColumns
from components.history.lookup import Lookup
from components.history.settings import HistorySource
from components.history.state import open_state
from components.transforms.collecting import run_and_collect
from components.transforms.encode_events import EncodeEvents
from components.transforms.history_beam import complete_history
from components.transforms.shards import FRESH_SPLITS, MATURED_SPLITS, SPLITS
from eventlog.checks import SpanCounts, check_span, require_labels
from eventlog.columns import LogColumns
from eventlog.rows import LABEL_PREFIX
from models.settings import from_json, to_json

NEWEST = -1
"""Stands for the newest version of each span. The version of the Examples is then 0."""
READY_MS = "ready_ms"
"""Custom property of the Examples: time of completion in Unix milliseconds. Label lag starts at this time."""


class SpanExampleGenExecutor(BeamExecutor):
    """Checks all spans before it writes anything, then encodes them with Beam, one shard per Beam element."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class.

        Raises:
            BadInput: if a span is missing or faulty, or a task in `labelled_tasks` has no label in any span.
        """
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        event_log = exec_properties["events"]
        spans = range(exec_properties["first_span"], exec_properties["last_span"] + 1)
        version, surface = exec_properties["version"], exec_properties["surface"] or None
        read_version = None if version == NEWEST else version
        columns = from_json(EventColumns, exec_properties["columns"]).read()
        counts = [check_span(Path(event_log), span, columns, read_version) for span in spans]
        history = self._look_up(exec_properties["history"], columns, spans)
        num_rows = dict.fromkeys(SPLITS, 0)
        num_labels = dict.fromkeys(json.loads(exec_properties["labelled_tasks"]), 0)
        for span, count in zip(spans, counts, strict=True):
            encode = EncodeEvents(
                log=event_log,
                columns=columns,
                span=span,
                output_uri=examples.uri,
                rows_per_shard=exec_properties["rows_per_shard"],
                surface=surface,
                version=read_version,
                history=history,
            )
            shards = self._run(encode)
            _check_row_counts(span, count, shards, surface)
            num_rows = {split: num_rows[split] + sum(shard[split] for shard in shards) for split in SPLITS}
            for task in num_labels:
                num_labels[task] += sum(shard[LABEL_PREFIX + task] for shard in shards)
        where = f"{event_log}, spans {spans[0]} to {spans[-1]}"
        require_labels(num_labels, columns.delays, where, surface)
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples.span = spans[-1]
        examples.version = max(version, 0)
        examples.set_int_custom_property("fresh_rows", sum(num_rows[split] for split in FRESH_SPLITS))
        examples.set_int_custom_property("matured_rows", sum(num_rows[split] for split in MATURED_SPLITS))
        examples.set_int_custom_property(READY_MS, time.time_ns() // 1_000_000)

    def _look_up(self, source: str, columns: LogColumns, spans: range) -> Lookup | None:
        """The history of the rows of some spans, whose state is first completed; None without a history."""
        if not source:
            return None
        state = open_state(from_json(HistorySource, source), columns)
        impression_spans = sorted({span - age for span in spans for age in columns.ages})
        return complete_history(state, impression_spans, self._run)

    def _run(self, transform: beam.PTransform) -> list[dict[str, int]]:
        return run_and_collect(
            lambda pipeline: pipeline | transform, self._beam_pipeline_args or [], self._get_tmp_dir()
        )


def _check_row_counts(
    span: int, count: SpanCounts, shards: list[dict[str, int]], surface: str | None
) -> None:
    """Compares the row counts of the shards with the event log: a Beam runner can lose rows and report DONE.

    Compares the rows that the workers have read; without a surface filter, also the rows they have written.

    Raises:
        RuntimeError: if a count differs.
    """
    pairs = {"rows read": (count.total, sum(shard["read"] for shard in shards))}
    if surface is None:
        for kind, splits in (("fresh", FRESH_SPLITS), ("matured", MATURED_SPLITS)):
            written = sum(shard[split] for shard in shards for split in splits)
            pairs[f"{kind} rows written"] = (getattr(count, kind), written)
    for name, (expected, got) in pairs.items():
        if got != expected:
            raise RuntimeError(
                f"span {span}: expected {expected} {name}, as in the event log, got {got}. "
                "The Beam runner has lost rows; run the span again."
            )


class SpanExampleGenSpec(ComponentSpec):
    """See `SpanExampleGen`."""

    PARAMETERS = {
        "events": ExecutionParameter(type=str),
        "columns": ExecutionParameter(type=str),
        "first_span": ExecutionParameter(type=int),
        "last_span": ExecutionParameter(type=int),
        "rows_per_shard": ExecutionParameter(type=int),
        "surface": ExecutionParameter(type=str),
        "labelled_tasks": ExecutionParameter(type=str),
        "history": ExecutionParameter(type=str),
        "version": ExecutionParameter(type=int),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class SpanExampleGen(base_beam_component.BaseBeamComponent):
    """Writes spans of the event log as Examples: fresh and matured rows, each with a holdout split."""

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SpanExampleGenExecutor)

    def __init__(
        self,
        events: str,
        columns: EventColumns,
        first_span: IntOrPlaceholder,
        last_span: IntOrPlaceholder,
        rows_per_shard: int,
        surface: str = "",
        version: IntOrPlaceholder = NEWEST,
        labelled_tasks: Sequence[str] = (),
        history: HistorySource | None = None,
    ):
        """Builds the component.

        Args:
            events: Folder of the event log.
            columns: The columns to read.
            first_span: The first span to read.
            last_span: The last span to read; only the burn-in reads several spans.
            rows_per_shard: Maximum number of log rows in a shard.
            surface: The surface whose rows are written; empty: all surfaces.
            version: The span version to read; NEWEST: the newest of each span, as in a burn-in.
            history: The history, whose columns are added; None if the deployment has none.
            labelled_tasks: Tasks that must have a label in these spans, as in a burn-in.
        """
        spec = SpanExampleGenSpec(
            events=events,
            columns=to_json(columns),
            first_span=first_span,
            last_span=last_span,
            rows_per_shard=rows_per_shard,
            surface=surface,
            labelled_tasks=json.dumps(list(labelled_tasks)),
            history=to_json(history) if history is not None else "",
            version=version,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
