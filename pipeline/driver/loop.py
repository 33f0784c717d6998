"""The loop over spans: what is due, in order, whatever has been killed, comes late, or is broken."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from tfx.orchestration import metadata, pipeline

from components.label_store.schemes import open_store
from components.span_records import (
    BOOTSTRAP,
    RELABELLED,
    TEACHER,
    SpanRecord,
    read_record,
    recorded_spans,
    write_record,
)
from eventlog.checks import EmptySpan
from eventlog.errors import BadInput
from eventlog.spans import span_versions
from pipeline.config import Deployment
from pipeline.dag.pipelines import all_branches, bootstrap_pipeline, relabel_pipeline, span_pipeline
from pipeline.driver.due_spans import Due, NotYet, labels_are_due, next_due, require_spans, skip, skip_late
from pipeline.driver.memory import hand_back
from pipeline.driver.progress import Progress
from pipeline.driver.runner import LocalRunner
from pipeline.observation.lineage import labelling_model, refuse_leaking_teacher
from pipeline.paths import RunPaths

_INGEST = ("SpanExampleGen", "SpanStatistics", "SpanValidator")


@dataclasses.dataclass
class Loop:
    """One root's loop: of all branches, or of some while other processes run the others.

    Attributes:
        deployment: The configuration.
        paths: Where the run keeps what; what is recorded there is not run again.
        progress: Told of every step.
        branches: The teacher's and surfaces'; all by default.
        stopping: Asked before each step whether to stop.
    """

    deployment: Deployment
    paths: RunPaths
    progress: Progress
    branches: Sequence[str] = ()
    stopping: Callable[[], bool] = lambda: False
    _looked_at: dict[int, int] = dataclasses.field(default_factory=dict, init=False)
    """Past spans and versions that need no other look: a loop that runs for months has many."""

    def __post_init__(self) -> None:
        self.branches = tuple(self.branches) or all_branches(self.deployment)
        if self.deployment.spans_table is not None:
            # The teacher's loop fills it; the others may look before.
            self.paths.events.mkdir(parents=True, exist_ok=True)

    def bootstrap(self) -> None:
        """Burns the teacher in, unless that has been done; surfaces alone take another root's graph.

        Raises:
            BadInput: if the log lacks a span of the burn-in, or one is faulty; if there is no graph to take.
        """
        if recorded_spans(self.paths.records, BOOTSTRAP):
            return
        spans = self.deployment.burn_in_spans
        if TEACHER not in self.branches:
            self._adopt_graph()
            return
        require_spans(self.paths.events, spans, "the burn-in")
        refused = self._run(
            bootstrap_pipeline(self.deployment, self.paths),
            f"bootstrap-{spans[0]:05d}-{spans[-1]:05d}",
            f"burn-in {spans[0]}:{spans[-1]}",
        )
        if refused:
            raise next(iter(refused.values()))

    def catch_up(self, wanted: range | None = None) -> tuple[list[int], dict[str, BadInput]]:
        """Runs every span that is due, in order, and re-stated ones that are past.

        Args:
            wanted: The spans to have run at the end; all that the log holds, when None.

        Returns:
            The spans run now, and by surface that stays behind what stops it.

        Raises:
            BadInput: if a span is faulty or missing and the configuration does not let it be skipped.
            Stopped: if asked to stop.
        """
        self._fetch_spans()
        # Before anything is made: a range that cannot be run leaves nothing behind.
        next_due(self.deployment, self.paths, self.branches, wanted)
        self.bootstrap()
        if wanted is not None:
            # What is missing before its end may be late, and skipped.
            require_spans(self.paths.events, wanted[-1:], "--spans")
        done: list[int] = []
        stuck: dict[str, BadInput] = {}
        while True:
            going = [branch for branch in self.branches if branch not in stuck]
            due = next_due(self.deployment, self.paths, going, wanted)
            if due is None:
                break
            if due.missing:
                skip_late(self.deployment, self.paths, due)
                continue
            if TEACHER not in self.branches and not labels_are_due(self.deployment, self.paths, due):
                break
            behind = self._run_span(due)
            if behind is not None:
                stuck |= behind
                done.append(due.span)
        self._take_note_of_late_and_restated(wanted)
        return done, stuck

    def _fetch_spans(self) -> None:
        """Brings the event log up to what a table in BigQuery says is complete, if the deployment has one."""
        if self.deployment.spans_table is None or TEACHER not in self.branches:
            return
        # Imported when asked for: a run without BigQuery does not pay for its clients.
        from google.api_core.exceptions import GoogleAPICallError, RetryError

        from components.event_store.complete_spans import CompleteSpans
        from components.event_store.event_table import EventTable
        from components.label_store.bigquery.location import parse_location

        location = parse_location(self.deployment.label_store.partition("://")[2])
        table = CompleteSpans(
            EventTable(location, self.deployment.events_table or ""), self.deployment.spans_table
        )
        try:
            table.fetch(
                self.paths.events, lambda span, rows: self.progress.say(f"span {span}: {rows} rows fetched")
            )
        except (GoogleAPICallError, RetryError) as error:
            raise NotYet(
                "BigQuery does not answer", where=f"spans_table {self.deployment.spans_table}",
                expected="the complete spans", got=f"{error}".splitlines()[0][:200],
                fix="Look at BigQuery and the credentials; a loop that serves asks again.",
            ) from error  # fmt: skip

    def relabel(self, span: int, version: int) -> None:
        """Labels a past span with the teacher of then; its set is a new one, which nobody has pinned.

        Raises:
            BadInput: if the span is faulty.
        """
        refused = self._run(
            relabel_pipeline(self.deployment, self.paths, span, version),
            f"relabel-{span:05d}-v{version}",
            f"span {span}, labelled again",
            span,
        )
        if refused:
            raise next(iter(refused.values()))

    def backfill(self, spans: range) -> list[int]:
        """Labels those past spans of a range whose newest version has no label set; returns them.

        Raises:
            BadInput: if the range reaches beyond what the teacher has learnt, or a span is faulty.
        """
        learnt = recorded_spans(self.paths.records, TEACHER)
        newest = span_versions(self.paths.events)
        store = open_store(self.paths.label_store(self.deployment.label_store))
        labelled = {
            (record.key.span, record.key.span_version)
            for record in store.list_sets()
            if record.key.teacher == self.deployment.teacher.name
        }
        unlearnt = [span for span in spans if span not in learnt or span not in newest]
        if unlearnt:
            raise BadInput(
                "no teacher of then", where=f"--spans {spans[0]}:{spans[-1]}",
                expected=f"spans that the teacher has behind it ({learnt[:1]} to {learnt[-1:]})",
                got=str(unlearnt[0]), fix="Run them with `rankdistill run`, which labels them too.",
            )  # fmt: skip
        lacking = [span for span in spans if (span, newest[span]) not in labelled]
        for span in lacking:
            self.relabel(span, newest[span])
        return lacking

    def _run_span(self, due: Due) -> dict[str, BadInput] | None:
        """Runs one span; gives back, by surface, what it is stuck at, or None if the span is skipped."""
        refused = self._run(
            span_pipeline(self.deployment, self.paths, due.span, due.version, due.branches),
            f"span-{due.span:05d}-v{due.version}",
            f"span {due.span}",
            due.span,
        )
        faulty = next((refused[node] for node in _INGEST if node in refused), None)
        if faulty is not None:
            if not isinstance(faulty, EmptySpan) and self.deployment.validation.refused_span == "stop":
                raise faulty
            skip(self.paths, due, str(faulty))
            return None
        if "SpanPublisher" in refused:
            raise refused["SpanPublisher"]
        publishers = {surface: f"SpanPublisher_{surface}" for surface in self.deployment.surfaces}
        return {surface: refused[node] for surface, node in publishers.items() if node in refused}

    def _run(
        self, dag: pipeline.Pipeline, what: str, title: str, span: int | None = None
    ) -> dict[str, BadInput]:
        guards = {}
        if self.deployment.label_with == "previous":
            guards["SoftLabelBulkInferrer"] = functools.partial(_refuse_leak, span)
        # Under another configuration it is another run, since what is done may not fit what is left.
        run_id = f"{dag.pipeline_info.pipeline_name}.{what}.{self.deployment.version}"
        runner = LocalRunner(self.progress, run_id, guards, self.stopping)
        with self.progress.stretch(title):
            runner.run(dag)
        hand_back()
        return runner.refused

    def _take_note_of_late_and_restated(self, wanted: range | None) -> None:
        """Labels re-stated spans again, and learns neither them nor spans that came after they were skipped.

        A model cannot unlearn what a span said before, and spans are learnt in their order.
        """
        if TEACHER not in self.branches:
            return
        newest = span_versions(self.paths.events)
        changed = {span for span, version in newest.items() if self._looked_at.get(span) != version}
        noted = {
            span: read_record(self.paths.records, RELABELLED, span).version
            for span in recorded_spans(self.paths.records, RELABELLED)
        }
        for span in sorted(changed.intersection(recorded_spans(self.paths.records, TEACHER))):
            if wanted is not None and span not in wanted:
                continue
            known = read_record(self.paths.records, TEACHER, span)
            came_late = known.skipped.startswith("late") and span not in noted
            if came_late or newest[span] > max(known.version, noted.get(span, 0)):
                self._relabel_or_skip(span, newest[span])
            self._looked_at[span] = newest[span]

    def _relabel_or_skip(self, span: int, version: int) -> None:
        try:
            self.relabel(span, version)
        except BadInput as error:
            if self.deployment.validation.refused_span == "stop":
                raise
            record = SpanRecord(span=span, version=version, skipped=str(error))
            write_record(self.paths.records, RELABELLED, record)

    def _adopt_graph(self) -> None:
        source = self.paths.teacher_root / "records" if self.paths.teacher_root else None
        spans = recorded_spans(str(source), BOOTSTRAP) if source else []
        if not spans:
            raise NotYet(
                "no feature graph", where=str(self.paths.root),
                expected="a bootstrap here, or that of the root given with --teacher-root",
                got=f"none in {source}" if source else "no --teacher-root",
                fix="Run the teacher's loop first; surfaces alone take over its frozen features.",
            )  # fmt: skip
        adopted = read_record(str(source), BOOTSTRAP, spans[-1])
        graph = {"transform_graph": adopted.slots["transform_graph"]}
        write_record(self.paths.records, BOOTSTRAP, SpanRecord(span=adopted.span, slots=graph))


def _refuse_leak(span: int | None, handle: metadata.Metadata, run_id: str) -> None:
    with handle as opened:
        model = labelling_model(opened.store, run_id)
        if model is not None and span is not None:
            refuse_leaking_teacher(opened.store, model, span)
