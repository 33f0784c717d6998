"""Finds the next span to run for each branch and checks that its events and labels are available."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from components.label_store.schemes import open_store
from components.span_records import (
    BURN_IN,
    RELABELLED,
    TEACHER,
    SpanRecord,
    recorded_spans,
    surface_burn_in,
    write_record,
)
from eventlog.errors import BadInput
from eventlog.names import name_fault
from eventlog.spans import span_folder, span_versions
from pipeline.config import Deployment
from pipeline.driver.log_checks import InputNotReady
from pipeline.paths import RunPaths

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SpanToRun:
    """The next span of some branches, to run or to skip.

    Attributes:
        span: The number of the span.
        version: The newest complete version of the span; 0 for a missing span.
        branches: The branches whose next span this is, in the order of the DAG.
        is_missing: Whether to skip the span: the log lacks it, and has enough later spans.
    """

    span: int
    version: int
    branches: tuple[str, ...]
    is_missing: bool


def find_next_span(
    deployment: Deployment, paths: RunPaths, branches: Sequence[str], requested: range | None
) -> SpanToRun | None:
    """Returns the lowest next span of the branches; None if it can be neither run nor skipped now.

    The next span of a branch follows the last span that the branch has recorded. A branch without a recorded
    span begins with `deployment.first_span(branch)`.

    Args:
        deployment: The configuration, with each branch's first span and the rule for missing spans.
        paths: The paths of the run, with the span records and the event log.
        branches: The branches to consider.
        requested: The spans to run; None for all spans of the log.

    Raises:
        BadInput: if the requested range starts after the next span.
        InputNotReady: if the log lacks the span and has later spans, but the configuration does not skip it
            yet.
    """
    next_spans = {branch: _next_span(deployment, paths, branch) for branch in branches}
    if not next_spans:
        return None
    span = min(next_spans.values())
    if requested is not None and span < requested[0]:
        raise BadInput(
            "span gap", where=f"--spans {requested[0]}:{requested[-1]}",
            expected=f"a range from span {span} or earlier", got=str(requested[0]),
            fix=f"Models train on all spans in order; begin with span {span}.",
        )  # fmt: skip
    if requested is not None and span > requested[-1]:
        return None
    newest_versions = span_versions(paths.events)
    num_later = sum(other > span for other in newest_versions)
    branches_of_span = tuple(branch for branch in branches if next_spans[branch] == span)
    if span in newest_versions:
        return SpanToRun(span, newest_versions[span], branches_of_span, False)
    if not num_later:
        return None
    late_after = deployment.validation.late_after_spans
    if late_after is None or num_later < late_after:
        raise InputNotReady(
            "span gap", where=str(paths.events), expected=f"span {span} before later ones",
            got=f"{num_later} later spans",
            fix="Write the missing span, or set validation.late_after_spans to skip it.",
        )  # fmt: skip
    return SpanToRun(span, 0, branches_of_span, True)


def _next_span(deployment: Deployment, paths: RunPaths, branch: str) -> int:
    """The span after the last recorded one; for a renamed surface that of its earlier name."""
    recorded = recorded_spans(paths.records, branch)
    if recorded:
        return recorded[-1] + 1
    was = deployment.surfaces[branch].was if branch in deployment.surfaces else None
    earlier = recorded_spans(paths.records, surface_burn_in(branch))
    if not earlier and was is not None:
        earlier = _spans_of_earlier_name(paths, was)
    return max([deployment.first_span(branch), *(span + 1 for span in earlier[-1:])])


def _spans_of_earlier_name(paths: RunPaths, was: str) -> list[int]:
    """The spans of a surface; before its first span, the last one of its burn-in or of its own rename."""
    return recorded_spans(paths.records, was) or recorded_spans(paths.records, surface_burn_in(was))


def find_next_spans(deployment: Deployment, paths: RunPaths, branches: Sequence[str]) -> range:
    """The next span that can be run, and the missing spans before it that are skipped; empty if none is due.

    Raises:
        InputNotReady: see `find_next_span`.
    """
    due = find_next_span(deployment, paths, branches, None)
    if due is None:
        return range(0)
    # A missing span is due only if the log has later ones.
    return range(due.span, min(span for span in span_versions(paths.events) if span >= due.span) + 1)


def lacks_burn_in(deployment: Deployment, paths: RunPaths, branch: str) -> bool:
    """Whether a surface must run its burn-in first; False for the teacher's branch.

    False also for a surface that has already run spans without a burn-in.
    """
    if branch == TEACHER or not deployment.surfaces[branch].burn_in:
        return False
    return not any(recorded_spans(paths.records, name) for name in (branch, surface_burn_in(branch)))


def span_of_rename(deployment: Deployment, paths: RunPaths, branch: str) -> int | None:
    """The last span of a surface under its earlier name; None if the surface is not to be renamed now.

    In a root in which no surface has run yet, nothing is taken over.

    Raises:
        BadInput: if other surfaces have run in the root, but not the earlier name.
    """
    was = deployment.surfaces[branch].was if branch in deployment.surfaces else None
    if was is None or any(recorded_spans(paths.records, name) for name in (branch, surface_burn_in(branch))):
        return None
    spans = _spans_of_earlier_name(paths, was)
    others = (folder.name for folder in Path(paths.records).glob("*/"))
    surfaces = sorted(name for name in others if name_fault(name, (TEACHER, BURN_IN, RELABELLED)) is None)
    if not spans and surfaces:
        raise BadInput(
            "no earlier surface", where=f"surfaces.{branch}.was", expected=f"one of {', '.join(surfaces)}",
            got=repr(was), fix="Correct the name, or remove `was` for a new surface.",
        )  # fmt: skip
    return spans[-1] if spans else None


def begins_without_burn_in(deployment: Deployment, paths: RunPaths, branch: str) -> bool:
    """Whether a surface has run no span yet and needs no burn-in; False for the teacher's branch."""
    if branch == TEACHER or deployment.surfaces[branch].burn_in:
        return False
    return not any(recorded_spans(paths.records, name) for name in (branch, surface_burn_in(branch)))


def skip_span(paths: RunPaths, due: SpanToRun, reason: str) -> None:
    """Records that the branches skipped the span, with the reason."""
    _LOG.warning("span %d skipped: %s", due.span, reason)
    for branch in due.branches:
        write_record(paths.records, branch, SpanRecord(span=due.span, version=due.version, skipped=reason))


def skip_missing_span(deployment: Deployment, paths: RunPaths, due: SpanToRun) -> None:
    """Skips a missing span; the reason in its records begins with `late`."""
    late_after = deployment.validation.late_after_spans
    skip_span(paths, due, f"late: still missing when {late_after} later spans were complete")


def labels_are_ready(deployment: Deployment, paths: RunPaths, due: SpanToRun) -> bool:
    """Whether surfaces in a loop without the teacher can run the span.

    True if the teacher of every surface has published labels of this version of the span, or if the surfaces'
    longest `label_wait_seconds` have passed since the span's arrival.
    """
    teachers = {deployment.label_source(surface)[1].teacher for surface in due.branches}
    labelled_by = {
        record.key.teacher
        for record in open_store(paths.label_store(deployment.label_store)).list_sets()
        if (record.key.span, record.key.span_version) == (due.span, due.version)
    }
    # The change time is the arrival in the log: a span that was moved there keeps its old modification time.
    arrived = span_folder(paths.events, due.span, due.version).stat().st_ctime
    wait_seconds = max(deployment.surfaces[surface].label_wait_seconds for surface in due.branches)
    return teachers <= labelled_by or time.time() - arrived > wait_seconds
