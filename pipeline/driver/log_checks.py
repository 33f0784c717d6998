"""Checks that the event log has the spans, the rows and the labels that a deployment needs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from eventlog.checks import check_span, require_labels
from eventlog.errors import BadInput
from eventlog.spans import count_labels, count_surfaces, span_versions
from models.tasks import Task
from pipeline.config import Deployment


class InputNotReady(BadInput):
    """An input is not available yet; `serve-loop` waits for it instead of failing."""


def check_log(deployment: Deployment, events: Path, on_span: Callable[[int, int], object]) -> None:
    """Checks every span of the log, then the rows and labels in the burn-in's spans.

    Args:
        deployment: The configuration, with the tasks and the surfaces that run a burn-in.
        events: The event log.
        on_span: Called after each check with the span and its number of rows.

    Raises:
        BadInput: at the first fault; see `check_span`, `require_spans`, `require_rows` and `require_labels`.
    """
    columns = deployment.event_columns.read()
    for span in span_versions(events):
        counts = check_span(events, span, columns)
        on_span(span, counts.total)
    spans = deployment.burn_in_spans
    require_spans(events, spans, "the burn-in")
    _require_labels(events, spans, deployment.teacher_job().tasks)
    for name, surface in deployment.surfaces.items():
        if surface.burn_in:
            require_rows(events, spans, name)
            _require_labels(events, spans, deployment.student_job(name).tasks, name)


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
    if surface in in_log:
        return
    close_names = difflib.get_close_matches(surface, in_log, n=1)
    fix = f"Did you mean {close_names[0]!r}?" if close_names else "Rename the surface."
    raise BadInput(
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


def _require_labels(
    events: Path, spans: range, tasks: Mapping[str, Task], surface: str | None = None
) -> None:
    """Checks that each task has labels in the spans: of one surface, or of all if `surface` is None."""
    by_surface = count_labels(events, spans, tasks)
    counts = by_surface.values() if surface is None else [by_surface[surface]]
    num_labels = {task: sum(count[task] for count in counts) for task in tasks}
    delays = {name: task.delay for name, task in tasks.items()}
    require_labels(num_labels, delays, f"{events}, spans {spans[0]} to {spans[-1]}", surface)
