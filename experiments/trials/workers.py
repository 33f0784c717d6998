"""Processes that keep what they have traced: work goes to whoever knows its graph."""

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

from pipeline.logging_setup import quieten

_WORTH_TRACING_AGAIN = 20.0
"""Seconds of a piece."""


class Piece(NamedTuple):
    """What one worker does in one go.

    Attributes:
        graph: name of the graph that all of it needs; seconds go by when a worker traces it.
        work: what is done, with the arguments of `Workers`.
    """

    graph: str
    work: Any


class Workers:
    """So many processes, each on one core, started with the first piece.

    Args:
        processes: how many.
        do: what a process does with a piece's `work`; a function of a module.
    """

    def __init__(self, processes: int, do: Callable[[Any], None]) -> None:
        self._do = do
        # Spawned and not forked: TensorFlow's threads do not outlive a fork.
        context = multiprocessing.get_context("spawn")
        self._pools = [ProcessPoolExecutor(1, context, initializer=_prepare_worker) for _ in range(processes)]
        self._known: list[set[str]] = [set() for _ in range(processes)]
        self._seconds: dict[str, float] = {}
        """Of the latest piece, by graph."""

    def run(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """Pieces as they end.

        Raises:
            BrokenProcessPool: if a process is killed.
        """
        pending, busy = list(pieces), dict[Future[None], tuple[int, float, Piece]]()
        while pending or busy:
            working = {worker for worker, _, _ in busy.values()}
            for worker in set(range(len(self._pools))) - working:
                if piece := choice(pending, self._known, self._seconds, worker):
                    pending.remove(piece)
                    self._known[worker].add(piece.graph)
                    future = self._pools[worker].submit(self._do, piece.work)
                    busy[future] = worker, time.monotonic(), piece
            ended, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in ended:
                _, began, piece = busy.pop(future)
                future.result()
                self._seconds[piece.graph] = time.monotonic() - began
                yield piece

    def processes(self) -> list[Any]:
        """Those that run."""
        return [process for pool in self._pools for process in (pool._processes or {}).values()]

    def close(self, *, wait: bool) -> None:
        """Ends them; without waiting, what is pending is dropped."""
        for pool in self._pools:
            pool.shutdown(wait=wait, cancel_futures=True)


def choice(
    pending: Sequence[Piece], known: Sequence[set[str]], seconds: Mapping[str, float], worker: int
) -> Piece | None:
    """What a worker that has nothing to do takes: what it knows, else what nobody knows, else another's.

    A last short piece is left to another that knows it, and has it done before it would be traced again.

    Args:
        pending: what is to be done.
        known: by worker, the graphs it has traced.
        seconds: what the latest piece took, by graph.
        worker: who asks.
    """
    others = set().union(*(graphs for place, graphs in enumerate(known) if place != worker))
    for piece in pending:
        if piece.graph in known[worker]:
            return piece
    for piece in pending:
        if piece.graph not in others:
            return piece
    if not pending:
        return None
    is_long = seconds.get(pending[-1].graph, math.inf) > _WORTH_TRACING_AGAIN
    return pending[-1] if len(pending) > 1 or is_long else None


def _prepare_worker() -> None:
    """One core a worker: two models side by side learn faster than one that shares out its small products."""
    quieten()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with contextlib.suppress(RuntimeError):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        _hear_xla_out(tf)


def _hear_xla_out(tf: Any) -> None:
    """With its first cluster XLA greets on stderr, whatever the log level: here, where nobody hears it."""
    heard = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            tf.function(lambda: tf.constant(0) + 1, jit_compile=True)()
        finally:
            os.dup2(heard, 2)
            os.close(heard)


def _end_with_parent() -> None:
    """A worker whose experiment was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
