"""The loop left alone: looks at the log again and again, waits for what is late, stops when told to."""

from __future__ import annotations

import threading
import time

from eventlog.errors import BadInput
from eventlog.spans import span_versions
from pipeline.driver.due_spans import NotYet
from pipeline.driver.loop import Loop
from pipeline.driver.runner import Stopped
from pipeline.driver.signals import told_to_stop
from pipeline.observation.metrics import write_metrics

_RETRY_SECONDS = 60.0
"""How long a surface that is stuck waits before it is tried again, unless a new span comes first."""


def serve(loop: Loop, poll_seconds: float, until_caught_up: bool) -> tuple[int, dict[str, BadInput]]:
    """Catches up, waits, and so on.

    Args:
        loop: What to run.
        poll_seconds: Between two looks at the log.
        until_caught_up: End as soon as nothing is due.

    Returns:
        How many spans were run, and the surfaces that stay behind. Also when it was told to stop by SIGTERM
        or SIGINT: the step in progress is finished, and the span is gone on with at the next start.

    Raises:
        BadInput: if a span is faulty and the configuration does not let it be skipped; with
            `until_caught_up` also if something is not there yet.
    """
    num_done, said = 0, ""
    with told_to_stop() as told:
        loop.stopping = told.is_set
        while not told.is_set():
            stuck: dict[str, BadInput] = {}
            try:
                done, stuck = loop.catch_up()
                num_done += len(done)
                if done:
                    write_metrics(loop.deployment, loop.paths)
                news = "; ".join(map(str, stuck.values()))
            except NotYet as error:
                if until_caught_up:
                    raise
                news = str(error)
            except Stopped as stopped:
                loop.progress.say(f"stopped before {stopped}; start again to go on")
                break
            if news and news != said:
                loop.progress.say(f"waiting: {news}")
                write_metrics(loop.deployment, loop.paths)
            said = news
            if until_caught_up:
                return num_done, stuck
            _wait(loop, poll_seconds, told, stuck)
    return num_done, {}


def _wait(loop: Loop, poll_seconds: float, told: threading.Event, stuck: dict[str, BadInput]) -> None:
    if not stuck:
        told.wait(poll_seconds)
        return
    before, until = span_versions(loop.paths.events), time.monotonic() + _RETRY_SECONDS
    while time.monotonic() < until and span_versions(loop.paths.events) == before:
        if told.wait(poll_seconds):
            return
