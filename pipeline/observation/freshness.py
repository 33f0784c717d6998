"""How fresh a branch is: seconds from an event to the student that has learnt it, and spans it is behind."""

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
from pipeline.observation.decisions import Finished, decisions, finished, read_beside
from pipeline.observation.lineage import open_metadata
from pipeline.paths import RunPaths

_MARKS = ("event", "ready", "labelled", "published", "trained", "pushed")
_STAGES = (*itertools.pairwise(_MARKS), ("event", "pushed"))
STAGES = tuple(f"{before}_to_{after}" for before, after in _STAGES)
"""From one mark to the next, and the whole way."""

_TIMED = ("Trainer_student", "Pusher")
_Figures = Mapping[str, Any]
"""`<mark>_ms` in Unix milliseconds, and `label_age_spans`, as a certificate has them."""


@dataclasses.dataclass(frozen=True)
class Freshness:
    """What one span took to become a model.

    The marks are: its newest fresh row's event, its examples, its labels computed and published, the student
    trained and pushed.

    Attributes:
        span: The span.
        branch: The teacher's, which ends with the published labels, or a surface.
        label_age_spans: How many spans the teacher was behind the one it labelled; None without labels.
        seconds: Of each of `STAGES`; None where a mark is missing.
    """

    span: int
    branch: str
    label_age_spans: int | None
    seconds: Mapping[str, float | None]


def freshness(deployment: Deployment, paths: RunPaths) -> list[Freshness]:
    """One for each span of each branch that has not skipped it: branch by branch, spans ascending.

    Labels' times come from the teacher's certificate; where the teacher runs in another root, or another
    teacher labels, from the record of the set that the surface's fleet has pinned. A student's times are
    those at which MLMD has its Trainer and Pusher complete.
    """
    certificates = {
        record.span: read_beside(record, "labels", "certificate.json") or {}
        for record in finished(paths, TEACHER)
        if not record.skipped
    }
    found = [_freshness(span, TEACHER, figures) for span, figures in certificates.items()]
    completed = _completed(deployment, paths)
    pushed = {
        (decision.branch, decision.span)
        for decision in decisions(deployment, paths, data=False)
        if decision.outcome == "pushed"
    }
    for surface in deployment.surfaces:
        records = [record for record in finished(paths, surface) if not record.skipped]
        is_own = certificates and deployment.label_source(surface)[1].teacher == deployment.teacher.name
        labels = certificates if is_own else _pinned(deployment, paths, surface, records)
        for record in records:
            figures = dict(labels.get(record.span, {}))
            figures["trained_ms"] = completed.get(("Trainer_student_" + surface, record.span, record.version))
            # The Pusher completes also where there is nothing to push.
            if (surface, record.span) in pushed:
                figures["pushed_ms"] = completed.get(("Pusher_" + surface, record.span, record.version))
            found.append(_freshness(record.span, surface, figures))
    return found


def percentiles(found: Sequence[Freshness]) -> dict[str, dict[str, dict[str, float]]]:
    """Branch → stage → `p50` and `p95` over its spans, in seconds; without the stages that no span has."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for each in found:
        stages = seconds.setdefault(each.branch, {})
        for stage, value in each.seconds.items():
            if value is not None:
                stages.setdefault(stage, []).append(value)
    return {
        branch: {
            stage: {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
            for stage, values in stages.items()
        }
        for branch, stages in seconds.items()
    }


def next_span(deployment: Deployment, branch: str, records: Sequence[Finished]) -> int:
    """The span that a branch will run next, whether the log holds it or not.

    Args:
        deployment: Says where a branch begins.
        branch: The teacher's or a surface.
        records: The branch's, in the order of their spans.
    """
    return records[-1].span + 1 if records else deployment.first_span(branch)


def spans_behind(paths: RunPaths, following: int) -> int:
    """How many complete spans the log holds from `following` on; 0 where there is no log.

    Args:
        paths: Where the log is.
        following: See `next_span`.
    """
    return sum(span >= following for span in span_versions(paths.events)) if paths.events.is_dir() else 0


def _freshness(span: int, branch: str, figures: _Figures) -> Freshness:
    # A certificate says 0 where it knows no time.
    marks = {mark: value for mark in _MARKS if (value := figures.get(f"{mark}_ms"))}
    seconds = {
        stage: (marks[after] - marks[before]) / 1000 if before in marks and after in marks else None
        for stage, (before, after) in zip(STAGES, _STAGES, strict=True)
    }
    return Freshness(span, branch, figures.get("label_age_spans"), seconds)


def _pinned(
    deployment: Deployment, paths: RunPaths, surface: str, records: Sequence[Finished]
) -> dict[int, _Figures]:
    """What the pinned sets' records say, by span, in a certificate's words."""
    if not records:
        return {}
    fleet, _ = deployment.label_source(surface)
    store = open_store(paths.label_store(deployment.label_store))
    sets = {
        each.set_id: {
            **each.facts.extra,
            "published_ms": each.created_ms,
            "label_age_spans": each.facts.label_age_spans,
        }
        for each in store.list_sets()
    }
    pins = {record.span: store.read_pin(fleet, record.span) for record in records}
    return {span: sets[pin] for span, pin in pins.items() if pin in sets}


def _completed(deployment: Deployment, paths: RunPaths) -> dict[tuple[str, int, int], int]:
    """When each student's Trainer and Pusher was complete, Unix ms, by node, span and version."""
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
