"""Computes the next items of an iterator in another thread, while the caller uses the current item."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_AHEAD = 2


def prefetched(items: Iterable[T]) -> Iterator[T]:
    """Yields the items; up to `_AHEAD + 1` of them are computed in advance.

    An error of `items` is raised here. If the consumer stops early, the thread stops after its current item.
    """
    done = object()
    ready: queue.Queue[object] = queue.Queue(_AHEAD)
    stop = threading.Event()
    errors: list[BaseException] = []

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as error:
            errors.append(error)
        put(done)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not done:
            yield item  # type: ignore[misc]
        if errors:
            raise errors[0]
    finally:
        stop.set()
        thread.join()
