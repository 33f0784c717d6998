"""The loop over spans: runs each due span in order, resumes killed runs, skips or stops at faulty spans."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from tfx.orchestration import metadata, pipeline

from components.label_store.base import LabelSetRecord
from components.label_store.schemes import open_store
from components.span_records import (
    BURN_IN,
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
from pipeline.dag.pipelines import (
    all_branches,
    burn_in_pipeline,
    relabel_pipeline,
    span_pipeline,
    surface_burn_in_pipeline,
    surface_rename_pipeline,
)
from pipeline.driver.changed_settings import accept_settings, require_settings
from pipeline.driver.due_spans import (
    SpanToRun,
    begins_without_burn_in,
    find_next_span,
    labels_are_ready,
    lacks_burn_in,
    skip_missing_span,
    skip_span,
    span_of_rename,
)
from pipeline.driver.fetching import fetch_spans
from pipeline.driver.log_checks import (
    InputNotReady,
    require_rows,
    require_rows_in_first_span,
    require_spans,
)
from pipeline.driver.memory import release_memory
from pipeline.driver.progress import Progress
from pipeline.driver.relabelling import refused_labels, relabelling_name
from pipeline.driver.root_platform import accept_platform, require_platform
from pipeline.driver.runner import LocalRunner
from pipeline.observation.finished_spans import require_artifacts, require_clock
from pipeline.observation.lineage import labelling_model, refuse_trained_teacher
from pipeline.paths import RunPaths

_INGEST_NODES = ("SpanExampleGen", "SpanStatistics", "SpanValidator")


@dataclasses.dataclass
class Loop:
    """Runs the spans of one root, for all branches or for some of them.

    Attributes:
        deployment: The configuration.
        paths: The paths of the run. A span with a record in `paths.records` does not run again.
        progress: Reports every step.
        branches: The branches to run; empty means all.
        is_stopping: Called before each step; True stops the loop.
    """

    deployment: Deployment
    paths: RunPaths
    progress: Progress
    branches: Sequence[str] = ()
    is_stopping: Callable[[], bool] = lambda: False
    _checked_versions: dict[int, int] = dataclasses.field(default_factory=dict, init=False)
    """Span → newest version that `_relabel_changed_spans` has already checked."""

    def __post_init__(self) -> None:
        self.branches = tuple(self.branches) or all_branches(self.deployment)
        if self.deployment.spans_table is not None:
            # The teacher's loop copies spans from BigQuery to the log. A loop of surfaces may start first.
            self.paths.events.mkdir(parents=True, exist_ok=True)

    def burn_in(self) -> None:
        """Runs the burn-in unless it is recorded.

        A loop without the teacher's branch records the transform graph of the teacher's root instead.

        Raises:
            BadInput: if the log lacks a span of the burn-in, a span is faulty, or the teacher's root has no
                transform graph.
        """
        if recorded_spans(self.paths.records, BURN_IN):
            return
        spans = self.deployment.burn_in_spans
        if TEACHER not in self.branches:
            self._record_transform_graph()
            return
        require_spans(self.paths.events, spans, "the burn-in")
        self._run_burn_in(burn_in_pipeline(self.deployment, self.paths), f"burn-in {spans[0]}:{spans[-1]}")

    def _burn_in_surface(self, surface: str) -> None:
        """Runs the burn-in of a surface.

        Raises:
            BadInput: if the log lacks a span of the burn-in, a span is faulty, or the surface has no rows.
        """
        spans = self.deployment.burn_in_spans
        require_spans(self.paths.events, spans, f"the burn-in of {surface}")
        require_rows(self.paths.events, spans, surface)
        dag = surface_burn_in_pipeline(self.deployment, self.paths, surface)
        self._run_burn_in(dag, f"burn-in {spans[0]}:{spans[-1]} of {surface}")

    def _rename_surface(self, surface: str, last_span: int) -> None:
        """Takes over the models of a renamed surface; `last_span` is the last span under its earlier name.

        Raises:
            BadInput: if the log has the next span, but no rows of the surface in it.
        """
        was = self.deployment.surfaces[surface].was or ""
        if last_span + 1 in span_versions(self.paths.events):
            require_rows(self.paths.events, range(last_span + 1, last_span + 2), surface)
        dag = surface_rename_pipeline(self.deployment, self.paths, surface, was, last_span)
        refused = self._run(dag, f"rename-{was}-{last_span:05d}", f"rename of {was} to {surface}")
        if refused:
            raise next(iter(refused.values()))

    def catch_up(self, requested: range | None = None) -> tuple[list[int], dict[str, BadInput]]:
        """Runs every due span in order, then labels revised and late spans.

        Args:
            requested: The spans to run; None for all spans of the log.

        Returns:
            The spans that this call ran, and the error of each surface that could not begin or finish a span.

        Raises:
            BadInput: if a span is faulty or missing and the configuration does not skip it; or if the
                configuration does not fit the root, see `accept_settings`.
            Stopped: if `is_stopping` returned True.
        """
        self._require_root()
        require_clock(self.paths)
        if TEACHER in self.branches:
            fetch_spans(self.deployment, self.paths, self.progress.print_line)
        # Refuses an impossible range before the burn-in starts.
        find_next_span(self.deployment, self.paths, self.branches, requested)
        self._accept_settings()
        self.burn_in()
        if requested is not None:
            # Only the last span is required: an earlier missing span may be skipped.
            require_spans(self.paths.events, requested[-1:], "--spans")
        done: list[int] = []
        errors = self._begin_surfaces()
        while True:
            branches = [branch for branch in self.branches if branch not in errors]
            due = find_next_span(self.deployment, self.paths, branches, requested)
            if due is None:
                break
            if due.is_missing:
                skip_missing_span(self.deployment, self.paths, due)
                continue
            if TEACHER not in self.branches and not labels_are_ready(self.deployment, self.paths, due):
                break
            errors_of_span = self._run_span(due, requested)
            if errors_of_span is not None:
                errors |= errors_of_span
                done.append(due.span)
        self._relabel_changed_spans(requested)
        return done, errors

    def _require_root(self) -> None:
        """Refuses a root that does not fit, and a label store that cannot be opened; writes nothing."""
        require_artifacts(self.paths)
        require_platform(self.paths)
        require_settings(self.deployment, self.paths)
        open_store(self.paths.label_store(self.deployment.label_store))

    def _accept_settings(self) -> None:
        for change in accept_settings(self.deployment, self.paths):
            self.progress.print_line(f"changed setting, from now on: {change}")
        copy = accept_platform(self.paths)
        if copy is not None:
            self.progress.print_line(f"a newer TFX continues this root; copy of its earlier metadata: {copy}")

    def relabel(self, span: int, version: int, superseded: LabelSetRecord | None = None) -> None:
        """Labels a past span with the latest teacher that has not trained on it; trains no model.

        Args:
            span: The span.
            version: The span version.
            superseded: The newest label set of the span version, which the new set supersedes; its pins
                stay. None if there is no such set, or if it is kept.

        Raises:
            BadInput: if the span is faulty.
        """
        refused = self._run(
            relabel_pipeline(self.deployment, self.paths, span, version, supersede=superseded is not None),
            relabelling_name(self.paths, span, version, superseded),
            f"span {span}, labelled again",
            span,
        )
        if refused:
            raise next(iter(refused.values()))

    def backfill(self, spans: range, supersede: bool = False) -> tuple[list[int], dict[int, BadInput]]:
        """Labels the past spans of a range whose newest version has no label set.

        Args:
            spans: The range.
            supersede: Also label spans that have a label set; each gets a new revision.

        Returns:
            The spans labelled, and those whose labels a check refused, with the reason.

        Raises:
            BadInput: if the teacher has not run a span of the range, the log lacks a span, or
                a span is faulty.
        """
        self._require_root()
        newest = span_versions(self.paths.events)
        ready = [span for span in recorded_spans(self.paths.records, TEACHER) if span in newest]
        not_ready = [span for span in spans if span not in ready]
        if not_ready:
            listed = ", ".join(map(str, ready))[:200] or "none"
            raise BadInput(
                "a span cannot be labelled", where=f"--spans {spans[0]}:{spans[-1]}",
                expected=f"spans that are in the log and that the teacher has run: {listed}",
                got=str(not_ready[0]),
                fix="Write the span if the log lacks it, then run and label it with `rankdistill run`.",
            )  # fmt: skip
        self._accept_settings()
        sets = self._newest_label_sets()
        to_label = [span for span in spans if supersede or (span, newest[span]) not in sets]
        for span in to_label:
            self.relabel(span, newest[span], sets.get((span, newest[span])))
        refused = refused_labels(self.paths, to_label)
        return [span for span in to_label if span not in refused], refused

    def _newest_label_sets(self) -> dict[tuple[int, int], LabelSetRecord]:
        """Maps span and span version to the newest label set of the deployment's teacher."""
        records = open_store(self.paths.label_store(self.deployment.label_store)).list_sets()
        return {
            (record.key.span, record.key.span_version): record
            for record in records
            if record.key.teacher == self.deployment.teacher.name
        }

    def _run_span(self, due: SpanToRun, requested: range | None) -> dict[str, BadInput] | None:
        """Runs one span; returns the errors of unfinished surfaces, or None if the span was skipped."""
        later = [span for span in span_versions(self.paths.events) if span > due.span]
        refused = self._run(
            span_pipeline(self.deployment, self.paths, due.span, due.version, due.branches),
            f"span-{due.span:05d}-v{due.version}",
            f"span {due.span}",
            due.span,
            len(later if requested is None else set(later).intersection(requested)),
        )
        fault = next((refused[node] for node in _INGEST_NODES if node in refused), None)
        if fault is not None:
            if not isinstance(fault, EmptySpan) and self.deployment.validation.refused_span == "stop":
                raise fault
            skip_span(self.paths, due, str(fault))
            return None
        if "SpanPublisher" in refused:
            raise refused["SpanPublisher"]
        publishers = {surface: f"SpanPublisher_{surface}" for surface in self.deployment.surfaces}
        return {surface: refused[node] for surface, node in publishers.items() if node in refused}

    def _begin_surfaces(self) -> dict[str, BadInput]:
        """Runs the burn-in of every surface that needs one; returns the error of each that cannot begin."""
        errors = {}
        for branch in self.branches:
            try:
                last_span = span_of_rename(self.deployment, self.paths, branch)
                if last_span is not None:
                    self._rename_surface(branch, last_span)
                elif lacks_burn_in(self.deployment, self.paths, branch):
                    self._burn_in_surface(branch)
                elif begins_without_burn_in(self.deployment, self.paths, branch):
                    require_rows_in_first_span(self.deployment, self.paths.events, branch)
            except BadInput as error:
                errors[branch] = error
        return errors

    def _run_burn_in(self, dag: pipeline.Pipeline, title: str) -> None:
        spans = self.deployment.burn_in_spans
        refused = self._run(dag, f"{BURN_IN}-{spans[0]:05d}-{spans[-1]:05d}", title)
        if refused:
            raise next(iter(refused.values()))

    def _run(
        self,
        dag: pipeline.Pipeline,
        name: str,
        title: str,
        span: int | None = None,
        num_left: int = 0,
    ) -> dict[str, BadInput]:
        """Runs or resumes a pipeline; returns the error of each refused node, by node id.

        Args:
            dag: The pipeline.
            name: Part of the run id; the same name and configuration resume the same run.
            title: Name of the run in the progress output.
            span: The span that the pipeline labels; None in a burn-in, which labels no span.
            num_left: Number of later spans, for the progress output.
        """
        guards = {}
        if self.deployment.label_with == "previous":
            guards["SoftLabelBulkInferrer"] = functools.partial(_guard_labelling, span)
        # A changed configuration starts a new run: nodes of the old run may not fit the new settings.
        run_id = f"{dag.pipeline_info.pipeline_name}.{name}.{self.deployment.settings_hash}"
        runner = LocalRunner(self.progress, run_id, guards, self.is_stopping)
        with self.progress.pipeline(title, num_left):
            runner.run(dag)
        release_memory()
        return runner.refused

    def _relabel_changed_spans(self, requested: range | None) -> None:
        """Labels revised and late spans.

        No model trains on them: training on an earlier version cannot be undone, and models train on spans in
        their order.
        """
        if TEACHER not in self.branches:
            return
        newest = span_versions(self.paths.events)
        changed = {span for span, version in newest.items() if self._checked_versions.get(span) != version}
        relabelled = {
            span: read_record(self.paths.records, RELABELLED, span).version
            for span in recorded_spans(self.paths.records, RELABELLED)
        }
        for span in sorted(changed.intersection(recorded_spans(self.paths.records, TEACHER))):
            if requested is not None and span not in requested:
                continue
            record = read_record(self.paths.records, TEACHER, span)
            arrived_late = record.skipped.startswith("late") and span not in relabelled
            if arrived_late or newest[span] > max(record.version, relabelled.get(span, 0)):
                self._relabel_or_skip(span, newest[span])
            self._checked_versions[span] = newest[span]

    def _relabel_or_skip(self, span: int, version: int) -> None:
        try:
            self.relabel(span, version)
        except BadInput as error:
            if self.deployment.validation.refused_span == "stop":
                raise
            record = SpanRecord(span=span, version=version, skipped=str(error))
            write_record(self.paths.records, RELABELLED, record)

    def _record_transform_graph(self) -> None:
        """Records the transform graph of the teacher's root as the burn-in of this root."""
        source = self.paths.teacher_root / "records" if self.paths.teacher_root else None
        spans = recorded_spans(str(source), BURN_IN) if source else []
        if not spans:
            raise InputNotReady(
                "no transform graph", where=str(self.paths.root),
                expected="a burn-in in this root, or in the root given with --teacher-root",
                got=f"none in {source}" if source else "no --teacher-root",
                fix="Run the teacher's loop first: the surfaces use its frozen transform graph.",
            )  # fmt: skip
        record = read_record(str(source), BURN_IN, spans[-1])
        graph = {"transform_graph": record.slots["transform_graph"]}
        write_record(self.paths.records, BURN_IN, SpanRecord(span=record.span, slots=graph))


def _guard_labelling(span: int | None, mlmd: metadata.Metadata, run_id: str) -> None:
    """Refuses to label a span with a teacher that has trained on it; see `runner.Guard`."""
    with mlmd as connection:
        model = labelling_model(connection.store, run_id)
        if model is not None and span is not None:
            refuse_trained_teacher(connection.store, model, span)
