"""Worker processes that keep traced graphs; a worker prefers work items whose graph it has traced."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.logging_setup import silence_other_packages

_MIN_SECONDS_TO_TRACE_AGAIN = 20.0
"""Limit for the only pending item, if another worker has traced its graph but the idle worker has not.

The idle worker takes the item if the latest item with the same graph took longer than this limit.
"""


class WorkItem(NamedTuple):
    """One call of a worker's function.

    Attributes:
        graph: name of the graph that the call needs. A worker traces a new graph in a few seconds.
        argument: the argument of the function, see `WorkerPool`.
    """

    graph: str
    argument: Any


class WorkerPool:
    """Worker processes with one core each. A process starts with its first item.

    Args:
        processes: number of processes.
        function: called in a process with the `argument` of an item. It must be picklable.
    """

    def __init__(self, processes: int, function: Callable[[Any], None]) -> None:
        self._function = function
        # Spawned and not forked: TensorFlow's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pools = [ProcessPoolExecutor(1, context, initializer=_prepare_worker) for _ in range(processes)]
        self._traced: list[set[str]] = [set() for _ in range(processes)]
        self._seconds: dict[str, float] = {}
        """Duration of the latest item of each graph, in seconds."""

    def run(self, items: Sequence[WorkItem]) -> Iterator[WorkItem]:
        """Runs all items; yields each when it has finished.

        Raises:
            BrokenProcessPool: if a process is killed.
        """
        pending, running = list(items), dict[Future[None], tuple[int, float, WorkItem]]()
        while pending or running:
            busy = {worker for worker, _, _ in running.values()}
            for worker in set(range(len(self._pools))) - busy:
                if item := next_item(pending, self._traced, self._seconds, worker):
                    pending.remove(item)
                    self._traced[worker].add(item.graph)
                    future = self._pools[worker].submit(self._function, item.argument)
                    running[future] = worker, time.monotonic(), item
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                _, started, item = running.pop(future)
                future.result()
                self._seconds[item.graph] = time.monotonic() - started
                yield item

    def close(self, *, wait: bool) -> None:
        """Cancels pending items and ends the processes. With `wait` True, first waits for running items."""
        for pool in self._pools:
            pool.shutdown(wait=wait, cancel_futures=True)


def next_item(
    pending: Sequence[WorkItem], traced: Sequence[set[str]], seconds: Mapping[str, float], worker: int
) -> WorkItem | None:
    """Selects the next item for an idle worker.

    It prefers graphs that this worker has traced, then graphs that no worker has traced.

    Args:
        pending: items that no worker has started.
        traced: for each worker, the graphs that it has traced.
        seconds: for each graph, the duration of its latest item.
        worker: index of the idle worker.

    Returns:
        None if nothing is pending. Also None if the only pending item is short and another worker has traced
        its graph: that worker finishes the item before this one could trace the graph.
    """
    traced_by_others = set().union(*(graphs for index, graphs in enumerate(traced) if index != worker))
    for item in pending:
        if item.graph in traced[worker]:
            return item
    for item in pending:
        if item.graph not in traced_by_others:
            return item
    if not pending:
        return None
    is_long = seconds.get(pending[-1].graph, math.inf) > _MIN_SECONDS_TO_TRACE_AGAIN
    return pending[-1] if len(pending) > 1 or is_long else None


def _prepare_worker() -> None:
    """Prepares a worker process: ends it with its parent, and limits TensorFlow to one CPU core.

    Two models on one core each train faster than one model on two cores.
    """
    silence_other_packages()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with contextlib.suppress(RuntimeError):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        _hide_first_xla_message(tf)


def _hide_first_xla_message(tf: Any) -> None:
    """Compiles a small function while stderr is redirected: XLA's first compilation always logs a line."""
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)
        try:
            tf.function(lambda: tf.constant(0) + 1, jit_compile=True)()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _exit_with_parent() -> None:
    """Ends this process when its parent ends; otherwise a killed parent's worker waits for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
