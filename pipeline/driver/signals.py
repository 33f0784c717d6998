"""Lets a loop stop between two steps on SIGTERM or Ctrl-C; the same signal again acts at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Yields an event that SIGTERM or SIGINT sets; a second equal signal acts as without this block."""
    stop = threading.Event()
    previous: dict[signal.Signals, Any] = {}

    def handle(number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(number, previous[signal.Signals(number)])

    for number in (signal.SIGTERM, signal.SIGINT):
        previous[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
