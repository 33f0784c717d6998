"""Being told to stop: the first signal asks, the second does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; the second does what it always does."""
    told = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def tell(number: int, _frame: Any) -> None:
        told.set()
        signal.signal(number, before[signal.Signals(number)])

    for each in (signal.SIGTERM, signal.SIGINT):
        before[each] = signal.signal(each, tell)
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
