"""Decisions of a run by branch and span, read from the files that finished steps have written.

Imports neither TFX nor TensorFlow, so that `rankdistill status` starts fast.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from components.evaluation.predictions import ROLES
from components.evaluation.severities import anomaly_lines
from components.span_records import RELABELLED, TEACHER
from pipeline.config import Deployment
from pipeline.observation.finished_spans import FinishedSpan, finished_spans
from pipeline.paths import RunPaths

DecisionKind = Literal["span", "data", "labels", "join", "candidate", "push", "revised"]
_Outcome = tuple[DecisionKind, str, str]
"""Kind, outcome and reason of a decision."""

_ROUTINE_OUTCOMES = ("published", "joined", "blessed", "pushed")
_SET_ID = re.compile(r"[\w-]+\.[\w-]+\.span-0*(\d+)\.\d+\.[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Decision:
    """One decision. Two runs on the same data have equal decisions.

    Attributes:
        span: The span.
        branch: `teacher`, a surface, or `relabelled`.
        what: Kind of decision, here with its outcomes: `span` (skipped), `data` (warned; one per anomaly of
            the split `train`), `labels` (published, refused, warned), `join` (joined, hard-only, last),
            `candidate` (blessed, discarded), `push` (pushed, held back; only for a blessed student),
            `revised` (labelled again, not labelled; for a revised or late span).
        outcome: One of the outcomes in brackets.
        reason: One line without folders and ids of label sets, which differ between runs. A candidate's
            reason begins with the role; a push's reason names the check that decided.
    """

    span: int
    branch: str
    what: DecisionKind
    outcome: str
    reason: str

    @property
    def is_routine(self) -> bool:
        """True for an expected outcome, False for an outcome that a person should see."""
        return self.outcome in _ROUTINE_OUTCOMES


def decisions(deployment: Deployment, paths: RunPaths, *, with_anomalies: bool = True) -> list[Decision]:
    """All decisions of a root, sorted by span, then by branch in the order of the DAG.

    A decision whose file was deleted is left out.

    Args:
        deployment: The configuration.
        paths: The run's paths.
        with_anomalies: Whether to include the anomalies of the rows, which are the decisions `data`.

    Raises:
        BadInput: if a record or a file in an artifact cannot be read.
    """
    branches = (TEACHER, *deployment.surfaces, RELABELLED)
    by_branch = {branch: finished_spans(paths, branch) for branch in branches}
    teacher_spans = {finished.span: finished for finished in by_branch[TEACHER]}
    result = []
    for branch, spans in by_branch.items():
        for finished in spans:
            outcomes = [*_outcomes(finished, with_anomalies)]
            if branch == RELABELLED and not finished.skipped:
                outcomes += _revision_outcomes(finished, teacher_spans.get(finished.span))
            result += [
                Decision(finished.span, branch, what, outcome, _without_run_details(reason, paths))
                for what, outcome, reason in outcomes
            ]
    return sorted(result, key=lambda decision: (decision.span, branches.index(decision.branch)))


def _outcomes(finished: FinishedSpan, with_anomalies: bool) -> Iterator[_Outcome]:
    if finished.skipped:
        yield "span", "skipped", finished.skipped
    if with_anomalies and (anomalies := finished.anomalies()) is not None:
        yield from _warning_outcomes("data", anomaly_lines(anomalies))
    if (refusal := finished.label_refusal()) is not None:
        yield "labels", "refused", refusal
    if (certificate := finished.certificate()) is not None:
        reason = f"{certificate.rows} rows, label age {certificate.label_age_spans} spans"
        yield "labels", "published", reason
    yield from _warning_outcomes("labels", finished.label_anomalies())
    if (report := finished.join_report()) is not None:
        yield "join", report.decision, report.reason or f"coverage {report.coverage:.4f}"
    verdicts = {role: finished.candidate_verdict(role) for role in ROLES}
    for role, verdict in verdicts.items():
        if verdict is not None:
            yield "candidate", "blessed" if verdict.blessed else "discarded", f"{role}: {verdict.reason}"
    if (student := verdicts["student"]) is not None and student.blessed:
        yield from _push_outcomes(finished)


def _push_outcomes(finished: FinishedSpan) -> Iterator[_Outcome]:
    if "gate" not in finished.slots:
        yield "push", "pushed", "based on the candidate check: the surface has no gate"
    elif (gate := finished.gate_verdict()) is not None:
        outcome = "pushed" if gate.push else "held back"
        yield "push", outcome, f"based on the {gate.rests_on}: {gate.reason}"


def _warning_outcomes(
    what: DecisionKind, lines_by_anomaly_kind: Mapping[str, list[str]]
) -> Iterator[_Outcome]:
    for anomaly_kind, lines in lines_by_anomaly_kind.items():
        yield from ((what, "warned", f"{anomaly_kind}: {line}") for line in lines)


def _revision_outcomes(finished: FinishedSpan, teacher_span: FinishedSpan | None) -> Iterator[_Outcome]:
    """Yields the decision on a late or revised span; nothing if the teacher has run this span version."""
    if teacher_span is None or teacher_span.skipped or finished.version > teacher_span.version:
        outcome = "not labelled" if finished.certificate() is None else "labelled again"
        yield "revised", outcome, f"version {finished.version}; no model trains on it"


def _without_run_details(reason: str, paths: RunPaths) -> str:
    """The reason without the parts that differ between two equal runs: folders and ids of label sets."""
    reason = reason.replace(str(paths.events), "the log")
    for root in (paths.root, paths.teacher_root):
        if root is not None:
            # Replaces the whole path: an artifact's folder has the number of its execution as its name.
            reason = re.sub(rf"{re.escape(str(root))}(?![\w-])[^\s:,']*", "the root", reason)
    return _SET_ID.sub(r"of span \1", reason)
