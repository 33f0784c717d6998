"""Checks that the event log has the spans, the rows and the labels that a deployment needs."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eventlog.checks import check_span, no_label_error
from eventlog.errors import BadInput
from eventlog.spans import count_labels, count_surfaces, span_versions
from pipeline.config import Deployment


class InputNotReady(BadInput):
    """An input is not available yet; `serve-loop` waits for it instead of failing."""


def find_log_faults(
    deployment: Deployment, events: Path, on_span: Callable[[int, int | None], object]
) -> list[BadInput]:
    """Checks every span of the log, then the rows and labels in the burn-in's spans.

    Args:
        deployment: The configuration, with the tasks and the surfaces that run a burn-in.
        events: The event log.
        on_span: Called after each check with the span and its number of rows; None for a faulty span.

    Returns:
        The first fault of each span. If the spans of the burn-in have none, also each task without labels and
        each surface without rows.
    """
    columns = deployment.event_columns.read()
    faults: dict[int, BadInput] = {}
    for span in span_versions(events):
        try:
            on_span(span, check_span(events, span, columns).total)
        except BadInput as fault:
            faults[span] = fault
            on_span(span, None)
    spans = deployment.burn_in_spans
    try:
        require_spans(events, spans, "the burn-in")
    except InputNotReady as missing:
        return [*faults.values(), missing]
    if faults.keys() & set(spans):
        return list(faults.values())
    return [*faults.values(), *_burn_in_faults(deployment, events)]


def _burn_in_faults(deployment: Deployment, events: Path) -> Iterator[BadInput]:
    """Yields a fault for each surface without rows, and for each task without labels, in the burn-in."""
    spans, where = deployment.burn_in_spans, _where(events, deployment.burn_in_spans)
    teacher_tasks = deployment.teacher_job().tasks
    by_surface = count_labels(events, spans, deployment.tasks)
    total = sum(by_surface.values(), Counter[str]())
    for name in teacher_tasks:
        if not total[name]:
            yield no_label_error(name, deployment.tasks[name].delay, where)
    for surface, settings in deployment.surfaces.items():
        if not settings.burn_in:
            continue
        if surface not in by_surface:
            if settings.was not in by_surface:
                yield _no_rows_error(surface, list(by_surface), spans)
            continue
        for name in deployment.student_job(surface).tasks:
            # Without a label on any surface, the teacher's fault has named the task.
            if not by_surface[surface][name] and (total[name] or name not in teacher_tasks):
                yield no_label_error(name, deployment.tasks[name].delay, where, surface)


def _where(events: Path, spans: range) -> str:
    return f"{events}, spans {spans[0]} to {spans[-1]}"


def require_spans(events: Path, spans: range, purpose: str) -> None:
    """Checks that the log has every span of a range; the message begins with `purpose` (`the burn-in`).

    Raises:
        InputNotReady: if a span is missing; names the first one.
    """
    available = list(span_versions(events))
    missing = [span for span in spans if span not in available]
    if missing:
        got = f"spans {available[0]} to {available[-1]}" if available else "no spans"
        raise InputNotReady(
            f"{purpose} needs span {missing[0]}", where=str(events),
            expected=f"spans {spans[0]} to {spans[-1]}",
            got=got, fix="Write the missing spans with `rankdistill events`, or change the range.",
        )  # fmt: skip


def require_rows(events: Path, spans: range, surface: str) -> None:
    """Checks that a surface has rows in a range of spans.

    Raises:
        BadInput: if it has none. The message lists the surfaces of the log and suggests a similar name.
    """
    in_log = count_surfaces(events, spans)
    if surface not in in_log:
        raise _no_rows_error(surface, list(in_log), spans)


def _no_rows_error(surface: str, in_log: Sequence[str], spans: range) -> BadInput:
    close_names = difflib.get_close_matches(surface, in_log, n=1)
    fix = f"Did you mean {close_names[0]!r}?" if close_names else "Rename the surface."
    return BadInput(
        "a surface without rows", where=f"surfaces.{surface}",
        expected=f"rows of {surface!r} in spans {spans[0]} to {spans[-1]}",
        got=f"rows of {', '.join(in_log)}"[:200],
        fix=f"{fix} For a new surface, set burn_in: false and first_spans.",
    )  # fmt: skip


def require_rows_in_first_span(deployment: Deployment, events: Path, surface: str) -> None:
    """Checks that a surface has rows in its first span; accepts a missing or faulty span.

    Raises:
        BadInput: see `require_rows`.
    """
    span = deployment.first_span(surface)
    if span not in span_versions(events):
        return
    try:
        check_span(events, span, deployment.event_columns.read())
    except BadInput:
        # The pipeline of the span reports the fault later.
        return
    require_rows(events, range(span, span + 1), surface)
