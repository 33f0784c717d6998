"""The loop's figures for Prometheus: read from what it has recorded, so that counters survive restarts."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from components.span_records import RELABELLED, TEACHER
from pipeline.config import Deployment
from pipeline.observation.decisions import Finished, decisions, finished, read_beside
from pipeline.observation.freshness import freshness, next_span, spans_behind
from pipeline.paths import RunPaths

_PREFIX = "rankdistill"
_ROLES = {TEACHER: ("teacher",)}
_STUDENT_ROLES = ("student", "control")


class LoopMetrics(Collector):
    """Reads a root at every scrape; leaves out branches that have recorded nothing there: they run elsewhere.

    Args:
        deployment: The configuration.
        paths: Where the run keeps what.
    """

    def __init__(self, deployment: Deployment, paths: RunPaths) -> None:
        self._deployment = deployment
        self._paths = paths

    def collect(self) -> Iterator[Metric]:
        """See the base class."""
        records = {
            branch: found
            for branch in (TEACHER, *self._deployment.surfaces)
            if (found := finished(self._paths, branch))
        }
        learnt = {
            branch: kept
            for branch, of_branch in records.items()
            if (kept := [record for record in of_branch if not record.skipped])
        }
        yield from self._progress(records)
        yield from self._freshness()
        yield from _joins(learnt)
        yield _calibration(learnt)
        yield from self._decisions([*records])
        yield self._rows_labelled(learnt)

    def _progress(self, records: dict[str, list[Finished]]) -> Iterator[Metric]:
        last = _gauge("last_span", "Number of the last span worked off.", "branch")
        # The time itself and not the seconds since: those would stand still in a file that is not rewritten.
        when = _gauge("last_span_timestamp_seconds", "When that was; time() less it is the age.", "branch")
        behind = _gauge(
            "spans_behind", "Complete spans of the log that are still to be worked off.", "branch"
        )
        for branch, of_branch in records.items():
            last.add_metric([branch], of_branch[-1].span)
            when.add_metric([branch], of_branch[-1].time)
            following = next_span(self._deployment, branch, of_branch)
            behind.add_metric([branch], spans_behind(self._paths, following))
        yield from (last, when, behind)

    def _freshness(self) -> Iterator[Metric]:
        age = _gauge("label_age_spans", "Spans the teacher was behind the last span it labelled.", "branch")
        stages = _gauge("stage_seconds", "What the last span took, stage by stage.", "branch", "stage")
        newest = {each.branch: each for each in freshness(self._deployment, self._paths)}
        for branch, each in newest.items():
            if each.label_age_spans is not None:
                age.add_metric([branch], each.label_age_spans)
            for stage, seconds in each.seconds.items():
                if seconds is not None:
                    stages.add_metric([branch, stage], seconds)
        yield from (age, stages)

    def _decisions(self, branches: list[str]) -> Iterator[Metric]:
        counts: dict[tuple[str, ...], int] = collections.Counter()
        for decision in decisions(self._deployment, self._paths, data=False):
            role = decision.reason.partition(":")[0] if decision.what == "candidate" else ""
            counts[decision.what, decision.outcome, decision.branch, role] += 1
        skipped = _counter("spans_skipped", "Spans that were late, empty or faulty.", "branch")
        discarded = _counter("candidates_discarded", "Candidates that were not blessed.", "branch", "role")
        for branch in branches:
            skipped.add_metric([branch], counts["span", "skipped", branch, ""])
            for role in _ROLES.get(branch, _STUDENT_ROLES):
                discarded.add_metric([branch, role], counts["candidate", "discarded", branch, role])
        refused = _counter("labels_refused", "Spans whose labels were unfit to be published.", "branch")
        if TEACHER in branches:
            for branch in (TEACHER, RELABELLED):
                refused.add_metric([branch], counts["labels", "refused", branch, ""])
        pushes = _counter("pushes", "Students that went into serving.", "surface")
        held_back = _counter(
            "pushes_held_back", "Blessed students that the surface's gate held back.", "surface"
        )
        unlabelled = _counter(
            "spans_without_labels", "Spans not joined, by what was done.", "surface", "policy"
        )
        for surface in (branch for branch in branches if branch != TEACHER):
            pushes.add_metric([surface], counts["push", "pushed", surface, ""])
            held_back.add_metric([surface], counts["push", "held back", surface, ""])
            for policy in ("hard-only", "last"):
                unlabelled.add_metric([surface, policy], counts["join", policy, surface, ""])
        yield from (skipped, discarded, refused, pushes, held_back, unlabelled)

    def _rows_labelled(self, learnt: dict[str, list[Finished]]) -> Metric:
        rows = _counter("rows_labelled", "Rows in published label sets.", "branch")
        again = [record for record in finished(self._paths, RELABELLED) if not record.skipped]
        for branch, records in ((TEACHER, learnt.get(TEACHER, [])), (RELABELLED, again)):
            certificates = [read_beside(record, "labels", "certificate.json") for record in records]
            if records:
                rows.add_metric([branch], sum(each["rows"] for each in certificates if each is not None))
        return rows


def write_metrics(deployment: Deployment, paths: RunPaths) -> None:
    """Writes `metrics.prom` under the root, whole or not at all, for node_exporter's textfile collector."""
    write_to_textfile(str(paths.root / "metrics.prom"), _registry(deployment, paths))


def serve_metrics(port: int, deployment: Deployment, paths: RunPaths) -> None:
    """Answers scrapes on `port` from a thread of this process, with figures of that moment."""
    start_http_server(port, registry=_registry(deployment, paths))


def _registry(deployment: Deployment, paths: RunPaths) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(LoopMetrics(deployment, paths))
    return registry


def _joins(learnt: dict[str, list[Finished]]) -> Iterator[Metric]:
    coverage = _gauge("coverage", "Share of the last span's fresh rows that had a soft label.", "surface")
    rows = _counter("rows_trained", "Rows that a student was given, held-out users' among them.", "surface")
    for surface, records in learnt.items():
        reports = [read_beside(record, "examples", "join_report.json") for record in records]
        reports = [report for report in reports if report is not None]
        if reports:
            coverage.add_metric([surface], reports[-1]["coverage"])
            given = (
                report["fresh_rows"] + report["matured_rows"]
                for report in reports
                if report["decision"] != "last"
            )
            rows.add_metric([surface], sum(given))
    yield from (coverage, rows)


def _calibration(learnt: dict[str, list[Finished]]) -> Metric:
    text = "Mean prediction over mean label, on the last span, which the model had not seen."
    calibration = _gauge("calibration", text, "surface", "role", "task")
    for surface, records in learnt.items():
        figures: dict[str, Any] = read_beside(records[-1], "figures", "figures.json") or {}
        for task, roles in figures.items():
            for role in (TEACHER, *_STUDENT_ROLES):
                value = roles.get(role, {}).get("calibration")
                if value is not None:
                    calibration.add_metric([surface, role, task], value)
    return calibration


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
