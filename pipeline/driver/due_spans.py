"""What is due: the next span of the branches that are behind, and whether it and its labels are there."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from components.label_store.schemes import open_store
from components.span_records import SpanRecord, recorded_spans, write_record
from eventlog.errors import BadInput
from eventlog.spans import span_folder, span_versions
from pipeline.config import Deployment
from pipeline.paths import RunPaths

_LOG = logging.getLogger(__name__)


class NotYet(BadInput):
    """Something is not there that may still come: a loop that serves waits for it."""


@dataclasses.dataclass(frozen=True)
class Due:
    """The next span to run.

    Attributes:
        span: Its number.
        version: The newest complete one.
        branches: Those that are to run it, in the order of the DAG.
        missing: Whether the log lacks it, and it is to be skipped for being late.
    """

    span: int
    version: int
    branches: tuple[str, ...]
    missing: bool


def next_due(
    deployment: Deployment, paths: RunPaths, branches: Sequence[str], wanted: range | None
) -> Due | None:
    """The first span that one of the branches has not recorded; None when nothing can be run now.

    Args:
        deployment: Says where branches begin, and how long a late span is waited for.
        paths: Says what is recorded and what the log holds.
        branches: Those that run.
        wanted: Spans to go up to; None: all that the log holds.

    Raises:
        BadInput: if the wanted range begins behind the next due span; `NotYet` if the log has a gap that is
            not to be skipped yet.
    """
    nexts = {
        branch: max(
            (span + 1 for span in recorded_spans(paths.records, branch)),
            default=deployment.first_span(branch),
        )
        for branch in branches
    }
    if not nexts:
        return None
    span = min(nexts.values())
    if wanted is not None and span < wanted[0]:
        raise BadInput(
            "span gap", where=f"--spans {wanted[0]}:{wanted[-1]}",
            expected=f"a range from span {span} or earlier",
            got=str(wanted[0]), fix="Warm start needs every span in order; begin where the last run ended.",
        )  # fmt: skip
    if wanted is not None and span > wanted[-1]:
        return None
    newest = span_versions(paths.events)
    later = sum(other > span for other in newest)
    going = tuple(branch for branch in branches if nexts[branch] == span)
    if span in newest:
        return Due(span, newest[span], going, False)
    if not later:
        return None
    patience = deployment.validation.late_after_spans
    if patience is None or later < patience:
        raise NotYet(
            "span gap", where=str(paths.events), expected=f"span {span} before later ones",
            got=f"{later} later spans",
            fix="Write the missing span, or set validation.late_after_spans to skip it.",
        )  # fmt: skip
    return Due(span, 0, going, True)


def skip(paths: RunPaths, due: Due, reason: str) -> None:
    """Records a span as one that its branches have skipped, and why."""
    _LOG.warning("span %d skipped: %s", due.span, reason)
    for branch in due.branches:
        record = SpanRecord(span=due.span, version=due.version, skipped=reason)
        write_record(paths.records, branch, record)


def skip_late(deployment: Deployment, paths: RunPaths, due: Due) -> None:
    """The same of a span that is missing for too long."""
    patience = deployment.validation.late_after_spans
    skip(paths, due, f"late: still missing when {patience} later spans were complete")


def labels_are_due(deployment: Deployment, paths: RunPaths, due: Due) -> bool:
    """Whether the span's labels are there, or have been waited for long enough; for surfaces apart."""
    teachers = {deployment.label_source(surface)[1].teacher for surface in due.branches}
    labelled = {
        record.key.teacher
        for record in open_store(paths.label_store(deployment.label_store)).list_sets()
        if record.key.span == due.span
    }
    # Not when it was written: a span that is moved or copied into the log may be old when it comes.
    came = span_folder(paths.events, due.span, due.version).stat().st_ctime
    patience = max(deployment.surfaces[surface].label_wait_seconds for surface in due.branches)
    return teachers <= labelled or time.time() - came > patience


def require_spans(events: Path, spans: range, what: str) -> None:
    """Refuses a range that the log does not hold whole.

    Raises:
        NotYet: naming the first span that is missing.
    """
    available = list(span_versions(events))
    missing = [span for span in spans if span not in available]
    if missing:
        held = f"spans {available[0]} to {available[-1]}" if available else "no spans"
        raise NotYet(
            f"{what} needs span {missing[0]}", where=str(events),
            expected=f"spans {spans[0]} to {spans[-1]}",
            got=held, fix="Write the missing spans with `rankdistill events`, or change the range.",
        )  # fmt: skip
