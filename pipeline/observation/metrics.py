"""Prometheus metrics of the loop. They come from its span records, so counters survive restarts."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from components.evaluation.predictions import ROLES
from components.span_records import RELABELLED, TEACHER
from eventlog.errors import BadInput
from pipeline.config import Deployment
from pipeline.observation.decisions import decisions
from pipeline.observation.finished_spans import FinishedSpan, finished_spans
from pipeline.observation.freshness import measure_freshness, next_span, spans_behind
from pipeline.paths import RunPaths

_PREFIX = "rankdistill"
_STUDENT_ROLES = ("student", "control")


class LoopMetrics(Collector):
    """Computes the metrics of a root at every scrape; leaves out branches without a finished span there.

    Args:
        deployment: The configuration.
        paths: The run's paths.
    """

    def __init__(self, deployment: Deployment, paths: RunPaths) -> None:
        self._deployment = deployment
        self._paths = paths

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics."""
        finished = {
            branch: spans
            for branch in (TEACHER, *self._deployment.surfaces)
            if (spans := finished_spans(self._paths, branch))
        }
        run_spans = {
            branch: not_skipped
            for branch, spans in finished.items()
            if (not_skipped := [span for span in spans if not span.skipped])
        }
        yield from self._progress(finished)
        yield from self._freshness()
        yield from _joins(run_spans)
        yield _calibration(run_spans)
        yield from self._decisions([*finished])
        yield self._rows_labelled(run_spans)

    def _progress(self, finished: dict[str, list[FinishedSpan]]) -> Iterator[Metric]:
        last = _gauge("last_span", "Number of the last finished span.", "branch")
        # A timestamp, not an age: `metrics.prom` is not rewritten while the age grows.
        finish_time = _gauge("last_span_timestamp_seconds", "When the last span was finished.", "branch")
        behind = _gauge("spans_behind", "Complete spans of the log that are not finished.", "branch")
        for branch, spans in finished.items():
            last.add_metric([branch], spans[-1].span)
            finish_time.add_metric([branch], spans[-1].time)
            first_span = next_span(self._deployment, branch, spans)
            behind.add_metric([branch], spans_behind(self._paths, first_span))
        yield from (last, finish_time, behind)

    def _freshness(self) -> Iterator[Metric]:
        age = _gauge("label_age_spans", "Label age in the last span, in spans.", "branch")
        stages = _gauge("stage_seconds", "Seconds between two marks of the last span.", "branch", "stage")
        newest = {span.branch: span for span in measure_freshness(self._deployment, self._paths)}
        for branch, span in newest.items():
            if span.label_age_spans is not None:
                age.add_metric([branch], span.label_age_spans)
            for stage, seconds in span.seconds.items():
                if seconds is not None:
                    stages.add_metric([branch, stage], seconds)
        yield from (age, stages)

    def _decisions(self, branches: list[str]) -> Iterator[Metric]:
        counts: dict[tuple[str, ...], int] = collections.Counter()
        for decision in decisions(self._deployment, self._paths, with_anomalies=False):
            role = decision.reason.partition(":")[0] if decision.what == "candidate" else ""
            counts[decision.what, decision.outcome, decision.branch, role] += 1
        skipped = _counter("spans_skipped", "Spans skipped: late, empty or faulty.", "branch")
        discarded = _counter("candidates_discarded", "Candidates discarded by their check.", "branch", "role")
        for branch in branches:
            skipped.add_metric([branch], counts["span", "skipped", branch, ""])
            for role in ("teacher",) if branch == TEACHER else _STUDENT_ROLES:
                discarded.add_metric([branch, role], counts["candidate", "discarded", branch, role])
        refused = _counter(
            "labels_refused", "Spans whose labels were not published because a check refused them.", "branch"
        )
        if TEACHER in branches:
            for branch in (TEACHER, RELABELLED):
                refused.add_metric([branch], counts["labels", "refused", branch, ""])
        pushes = _counter("pushes", "Students pushed to serving.", "surface")
        held_back = _counter("pushes_held_back", "Blessed students held back by the push gate.", "surface")
        unlabelled = _counter(
            "spans_without_labels",
            "Spans that a surface ran without joined labels, as without_labels or first_spans permits.",
            "surface",
            "policy",
        )
        for surface in (branch for branch in branches if branch != TEACHER):
            pushes.add_metric([surface], counts["push", "pushed", surface, ""])
            held_back.add_metric([surface], counts["push", "held back", surface, ""])
            for policy in ("hard-only", "last"):
                unlabelled.add_metric([surface, policy], counts["join", policy, surface, ""])
        yield from (skipped, discarded, refused, pushes, held_back, unlabelled)

    def _rows_labelled(self, run_spans: dict[str, list[FinishedSpan]]) -> Metric:
        rows = _counter("rows_labelled", "Rows in published label sets.", "branch")
        relabelled = [span for span in finished_spans(self._paths, RELABELLED) if not span.skipped]
        for branch, spans in ((TEACHER, run_spans.get(TEACHER, [])), (RELABELLED, relabelled)):
            certificates = [span.certificate() for span in spans]
            if spans:
                rows.add_metric(
                    [branch], sum(certificate.rows for certificate in certificates if certificate)
                )
        return rows


def write_metrics(deployment: Deployment, paths: RunPaths) -> None:
    """Replaces `metrics.prom` under the root in one step, for node_exporter's textfile collector."""
    write_to_textfile(str(paths.root / "metrics.prom"), _registry(deployment, paths))


def serve_metrics(port: int, deployment: Deployment, paths: RunPaths) -> None:
    """Serves the current metrics on `port` from a thread of this process.

    Raises:
        BadInput: if the port is in use, or this process is not permitted to open it.
    """
    try:
        start_http_server(port, registry=_registry(deployment, paths))
    except OSError as error:
        raise BadInput(
            "port not available", where=f"--metrics-port {port}", expected="a free port",
            got=str(error.strerror), fix="Use another port, or stop the process that has it.",
        ) from error  # fmt: skip


def _registry(deployment: Deployment, paths: RunPaths) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(LoopMetrics(deployment, paths))
    return registry


def _joins(run_spans: dict[str, list[FinishedSpan]]) -> Iterator[Metric]:
    coverage = _gauge("coverage", "Share of the last span's fresh rows with a soft label.", "surface")
    rows = _counter("rows_trained", "Rows given to a student, including held-out clusters.", "surface")
    for surface, spans in run_spans.items():
        reports = [report for span in spans if (report := span.join_report()) is not None]
        if reports:
            coverage.add_metric([surface], reports[-1].coverage)
            trained_rows = (
                report.fresh_rows + report.matured_rows for report in reports if report.decision != "last"
            )
            rows.add_metric([surface], sum(trained_rows))
    yield from (coverage, rows)


def _calibration(run_spans: dict[str, list[FinishedSpan]]) -> Metric:
    description = "Mean prediction divided by mean label on the last span, before the model trained on it."
    calibration = _gauge("calibration", description, "surface", "role", "task")
    for surface, spans in run_spans.items():
        for task, roles in spans[-1].figures().items():
            for role in ROLES:
                value = roles.get(role, {}).get("calibration")
                if value is not None:
                    calibration.add_metric([surface, role, task], value)
    return calibration


def _gauge(name: str, description: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", description, labels=labels)


def _counter(name: str, description: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", description, labels=labels)
