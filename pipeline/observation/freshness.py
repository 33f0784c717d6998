"""Freshness of a branch: seconds from an event to the student that trained on it, and spans behind."""

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
_STAGES = (*itertools.pairwise(_MARKS), ("event", "pushed"))
STAGES = tuple(f"{before}_to_{after}" for before, after in _STAGES)
"""From each mark to the next one, and from the first to the last."""

_TIMED = ("Trainer_student", "Pusher")
_Figures = Mapping[str, Any]
"""`<mark>_ms` in Unix milliseconds, and `label_age_spans`; the keys of a certificate."""


@dataclasses.dataclass(frozen=True)
class Freshness:
    """Seconds from the events of one span to the pushed student.

    The marks are: the event of the newest fresh row, the examples complete, the labels computed, the labels
    published, the student trained, the student pushed.

    Attributes:
        span: The span.
        branch: `teacher`, whose last mark is the published labels, or a surface.
        label_age_spans: The label age; None without labels.
        seconds: Seconds by stage of `STAGES`; None if a mark is missing.
    """

    span: int
    branch: str
    label_age_spans: int | None
    seconds: Mapping[str, float | None]


def freshness(deployment: Deployment, paths: RunPaths) -> list[Freshness]:
    """The freshness of every span that a branch did not skip, by branch, then by span.

    The times of labels come from the teacher's certificates. If the teacher runs in another root, or another
    teacher labels, they come from the record of the pinned label set. The times of a student are the
    completion times of its Trainer and Pusher in MLMD.
    """
    certificates = {
        finished.span: dataclasses.asdict(certificate) if (certificate := finished.certificate()) else {}
        for finished in finished_spans(paths, TEACHER)
        if not finished.skipped
    }
    result = [_freshness(span, TEACHER, figures) for span, figures in certificates.items()]
    completed = _completed(deployment, paths)
    pushed = {
        (decision.branch, decision.span)
        for decision in decisions(deployment, paths, data=False)
        if decision.outcome == "pushed"
    }
    for surface in deployment.surfaces:
        spans = [finished for finished in finished_spans(paths, surface) if not finished.skipped]
        labelled_here = (
            certificates and deployment.label_source(surface)[1].teacher == deployment.teacher.name
        )
        labels = certificates if labelled_here else _pinned(deployment, paths, surface, spans)
        for finished in spans:
            figures = dict(labels.get(finished.span, {}))
            key = (finished.span, finished.version)
            figures["trained_ms"] = completed.get((f"Trainer_student_{surface}", *key))
            # The Pusher completes even if it pushes nothing.
            if (surface, finished.span) in pushed:
                figures["pushed_ms"] = completed.get((f"Pusher_{surface}", *key))
            result.append(_freshness(finished.span, surface, figures))
    return result


def percentiles(spans: Sequence[Freshness]) -> dict[str, dict[str, dict[str, float]]]:
    """Branch → stage → `p50` and `p95` over its spans, in seconds; stages without a value are left out."""
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
    """The span that a branch runs next, whether or not the log has it.

    Args:
        deployment: The configuration.
        branch: `teacher` or a surface.
        spans: The branch's finished spans in order.
    """
    return spans[-1].span + 1 if spans else deployment.first_span(branch)


def spans_behind(paths: RunPaths, first_span: int) -> int:
    """Number of complete spans of the log from `first_span` on; 0 without a log."""
    return sum(span >= first_span for span in span_versions(paths.events)) if paths.events.is_dir() else 0


def _freshness(span: int, branch: str, figures: _Figures) -> Freshness:
    # A certificate has 0 for an unknown time.
    marks = {mark: value for mark in _MARKS if (value := figures.get(f"{mark}_ms"))}
    seconds = {
        stage: (marks[after] - marks[before]) / 1000 if before in marks and after in marks else None
        for stage, (before, after) in zip(STAGES, _STAGES, strict=True)
    }
    return Freshness(span, branch, figures.get("label_age_spans"), seconds)


def _pinned(
    deployment: Deployment, paths: RunPaths, surface: str, spans: Sequence[FinishedSpan]
) -> dict[int, _Figures]:
    """Times and label age from the records of the pinned label sets, by span."""
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


def _completed(deployment: Deployment, paths: RunPaths) -> dict[tuple[str, int, int], int]:
    """Completion time (Unix ms) of each student's Trainer and Pusher, by node, span and span version."""
    if not Path(paths.metadata).is_file():
        return {}
    steps = "|".join(f"{kind}_{surface}" for surface in deployment.surfaces for kind in _TIMED)
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
