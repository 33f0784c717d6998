"""The loop of `rankdistill serve-loop`: polls the event log, waits for missing inputs, stops on a signal."""

from __future__ import annotations

import threading
import time

from eventlog.errors import BadInput
from eventlog.spans import span_versions
from pipeline.driver.log_checks import InputNotReady
from pipeline.driver.loop import Loop
from pipeline.driver.runner import Stopped
from pipeline.driver.signals import stop_on_signal
from pipeline.observation.metrics import write_metrics

_RETRY_SECONDS = 60.0
"""Seconds until a failed surface is tried again, unless the log changes earlier."""


def run_until_stopped(
    loop: Loop, poll_seconds: float, until_caught_up: bool
) -> tuple[int, dict[str, BadInput]]:
    """Runs every span that is ready, waits, and repeats.

    After SIGTERM or SIGINT it finishes the step in progress and returns; the next start resumes the span.

    Args:
        loop: The loop to run.
        poll_seconds: Seconds between two reads of the log.
        until_caught_up: Return as soon as no span is ready.

    Returns:
        The number of spans run, and the error of each surface that could not begin or finish a span; no
        errors after a signal.

    Raises:
        BadInput: see `Loop.catch_up`. InputNotReady is raised only with `until_caught_up`.
    """
    num_done, last_reason = 0, ""
    with stop_on_signal() as stop:
        loop.is_stopping = stop.is_set
        while not stop.is_set():
            errors: dict[str, BadInput] = {}
            try:
                done, errors = loop.catch_up()
                num_done += len(done)
                if done:
                    write_metrics(loop.deployment, loop.paths)
                reason = "; ".join(map(str, errors.values()))
            except InputNotReady as error:
                if until_caught_up:
                    raise
                reason = str(error)
            except Stopped as stopped:
                loop.progress.print_line(f"stopped before {stopped}; start again to resume")
                break
            if reason and reason != last_reason:
                loop.progress.print_line(f"waiting: {reason}")
                write_metrics(loop.deployment, loop.paths)
            last_reason = reason
            if until_caught_up:
                return num_done, errors
            _wait(loop, poll_seconds, stop, bool(errors))
    return num_done, {}


def _wait(loop: Loop, poll_seconds: float, stop: threading.Event, has_errors: bool) -> None:
    """Waits before the next read of the log; after errors, until the log changes or `_RETRY_SECONDS` pass."""
    if not has_errors:
        stop.wait(poll_seconds)
        return
    versions, end = span_versions(loop.paths.events), time.monotonic() + _RETRY_SECONDS
    while time.monotonic() < end and span_versions(loop.paths.events) == versions:
        if stop.wait(poll_seconds):
            return
