"""Freshness of each branch and span: seconds from events to the pushed student.

Also finds the next span of a branch, and counts the spans that the branch is behind.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_metadata.proto import metadata_store_pb2

from components.label_store.schemes import open_store
from components.span_records import TEACHER
from eventlog.spans import span_versions
from pipeline.config import Deployment
from pipeline.observation.decisions import decisions
from pipeline.observation.finished_spans import FinishedSpan, finished_spans
from pipeline.observation.lineage import open_metadata
from pipeline.paths import RunPaths

_MARKS = ("event", "ready", "labelled", "published", "trained", "pushed")
"""Points in time of a span, in their order; see `Freshness`."""
_STAGE_MARKS = (*itertools.pairwise(_MARKS), ("event", "pushed"))
STAGES = tuple(f"{before}_to_{after}" for before, after in _STAGE_MARKS)
"""Names of the stages: from each mark to the next mark, and from the first mark to the last."""

_TIMED_COMPONENTS = ("Trainer_student", "Pusher")
_Figures = Mapping[str, Any]
"""`<mark>_ms` in Unix milliseconds for each known mark, and `label_age_spans`."""


@dataclasses.dataclass(frozen=True)
class Freshness:
    """Seconds between the marks (points in time) of one span, from its events to the pushed student.

    The marks are `event` (the newest labelled impression), `ready` (examples complete), `labelled` (labels
    computed), `published` (labels visible), `trained` and `pushed` (the student).

    Attributes:
        span: The span.
        branch: `teacher`, whose last mark is `published`, or a surface.
        label_age_spans: The label age in spans; None without labels.
        seconds: Stage of `STAGES` -> seconds; None if one of its two marks is missing.
    """

    span: int
    branch: str
    label_age_spans: int | None
    seconds: Mapping[str, float | None]


def measure_freshness(deployment: Deployment, paths: RunPaths) -> list[Freshness]:
    """Returns the freshness of every span that a branch did not skip, by branch, then by span.

    The marks up to `published` come from the teacher's certificates. If the teacher runs in another root, or
    the surface reads another teacher's labels, these marks come from the records of the pinned label sets.
    `trained` and `pushed` are the completion times of the student's Trainer and Pusher in MLMD.
    """
    certificates = {
        finished.span: dataclasses.asdict(certificate) if (certificate := finished.certificate()) else {}
        for finished in finished_spans(paths, TEACHER)
        if not finished.skipped
    }
    result = [_span_freshness(span, TEACHER, figures) for span, figures in certificates.items()]
    completed = _completion_times(deployment, paths)
    pushed = {
        (decision.branch, decision.span)
        for decision in decisions(deployment, paths, with_anomalies=False)
        if decision.outcome == "pushed"
    }
    for surface in deployment.surfaces:
        spans = [finished for finished in finished_spans(paths, surface) if not finished.skipped]
        labelled_here = (
            certificates and deployment.label_source(surface)[1].teacher == deployment.teacher.name
        )
        labels = certificates if labelled_here else _pinned_figures(deployment, paths, surface, spans)
        for finished in spans:
            figures = dict(labels.get(finished.span, {}))
            key = (finished.span, finished.version)
            figures["trained_ms"] = completed.get((f"Trainer_student_{surface}", *key))
            # The Pusher completes even if it pushes nothing.
            if (surface, finished.span) in pushed:
                figures["pushed_ms"] = completed.get((f"Pusher_{surface}", *key))
            result.append(_span_freshness(finished.span, surface, figures))
    return result


def percentiles(spans: Sequence[Freshness]) -> dict[str, dict[str, dict[str, float]]]:
    """Branch → stage → `p50` and `p95` in seconds over the spans; stages without a value are left out."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for span in spans:
        stages = seconds.setdefault(span.branch, {})
        for stage, value in span.seconds.items():
            if value is not None:
                stages.setdefault(stage, []).append(value)
    return {
        branch: {
            stage: {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
            for stage, values in stages.items()
        }
        for branch, stages in seconds.items()
    }


def next_span(deployment: Deployment, branch: str, spans: Sequence[FinishedSpan]) -> int:
    """The span that a branch runs next; the log may not have it yet.

    Args:
        deployment: The configuration.
        branch: `teacher` or a surface.
        spans: The branch's finished spans in order.
    """
    return spans[-1].span + 1 if spans else deployment.first_span(branch)


def spans_behind(paths: RunPaths, first_span: int) -> int:
    """Number of complete spans of the event log from `first_span` on; 0 without a log."""
    return sum(span >= first_span for span in span_versions(paths.events)) if paths.events.is_dir() else 0


def _span_freshness(span: int, branch: str, figures: _Figures) -> Freshness:
    # A certificate has 0 for an unknown time.
    marks = {mark: value for mark in _MARKS if (value := figures.get(f"{mark}_ms"))}
    seconds = {
        stage: (marks[after] - marks[before]) / 1000 if before in marks and after in marks else None
        for stage, (before, after) in zip(STAGES, _STAGE_MARKS, strict=True)
    }
    return Freshness(span, branch, figures.get("label_age_spans"), seconds)


def _pinned_figures(
    deployment: Deployment, paths: RunPaths, surface: str, spans: Sequence[FinishedSpan]
) -> dict[int, _Figures]:
    """Returns the marks up to `published` and the label age, from the pinned sets' records, by span."""
    if not spans:
        return {}
    fleet, _ = deployment.label_source(surface)
    store = open_store(paths.label_store(deployment.label_store))
    sets = {
        record.set_id: {
            **record.facts.extra,
            "published_ms": record.created_ms,
            "label_age_spans": record.facts.label_age_spans,
        }
        for record in store.list_sets()
    }
    pins = {finished.span: store.read_pin(fleet, finished.span) for finished in spans}
    return {span: sets[pin] for span, pin in pins.items() if pin in sets}


def _completion_times(deployment: Deployment, paths: RunPaths) -> dict[tuple[str, int, int], int]:
    """Completion time (Unix ms) of each student's Trainer and Pusher, by node, span and span version."""
    if not Path(paths.metadata).is_file():
        return {}
    steps = "|".join(f"{kind}_{surface}" for surface in deployment.surfaces for kind in _TIMED_COMPONENTS)
    name = re.compile(rf"{re.escape(deployment.name)}-span\.span-(\d+)-v(\d+)\.\w+\.({steps})")
    store = open_metadata(paths.root)
    completed: dict[tuple[str, int, int], int] = {}
    for context in store.get_contexts_by_type("node"):
        match = name.fullmatch(context.name)
        if match is None:
            continue
        for execution in store.get_executions_by_context(context.id):
            if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                key = (match.group(3), int(match.group(1)), int(match.group(2)))
                completed[key] = max(completed.get(key, 0), execution.last_update_time_since_epoch)
    return completed
