"""Runs trials in processes beside each other; what is done is kept, so that an experiment can go on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from eventlog.errors import BadInput
from experiments.outcome import Outcome, read_outcome, write_outcome
from experiments.stream import Stream, read_stream
from experiments.trial import Trial
from models.job import graph_of
from models.settings import to_json
from pipeline.noise import quieten

_STREAM: dict[Path, Stream] = {}
"""Of a worker: the stream that it has mapped."""
_MOST_TOGETHER = 6


class Schedule:
    """Keeps the outcomes of one stream's trials in a folder, and runs those that are missing.

    Args:
        stream: the stream's folder.
        folder: where outcomes lie, one file a trial.
        processes: so many trials at once, each on one core.
        on_done: told of every trial that has ended, with how many are left of those asked for.
    """

    def __init__(
        self, stream: Path, folder: Path, processes: int, on_done: Callable[[Trial, int], Any]
    ) -> None:
        self.stream = read_stream(stream)
        self.processes = processes
        self._stream_folder = stream
        self._folder = folder
        self._on_done = on_done
        self._pool: ProcessPoolExecutor | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Schedule:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def key(self, trial: Trial) -> str:
        """The trial's name."""
        return trial.key(self.stream.key)

    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Outcomes of trials, in their order; those that are not kept yet are run.

        A distilled student's teacher must have been run.

        Raises:
            BadInput: if a worker is killed, for want of memory say. What is done is kept.
        """
        missing = {self.key(trial): trial for trial in trials if not self._file(trial).is_file()}
        if missing:
            self._run(missing)
        return [read_outcome(self._file(trial)) for trial in trials]

    def _run(self, missing: Mapping[str, Trial]) -> None:
        pool = self._start()
        jobs = {
            pool.submit(_run_some, self._stream_folder, self._folder, together): together
            for together in _together(list(missing.values()), self.processes)
        }
        try:
            for trial, left in _as_they_end(jobs):
                self._on_done(trial, left)
        except BrokenProcessPool as error:
            raise BadInput(
                "a worker was killed", where=str(self._folder), expected="enough memory for every process",
                got=str(error), fix="Run again with fewer --processes: what is done is kept.",
            ) from error  # fmt: skip

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned and not forked: TensorFlow's threads do not outlive a fork.
            self._pool = ProcessPoolExecutor(
                self.processes, multiprocessing.get_context("spawn"), initializer=_prepare_worker
            )
        return self._pool

    def _file(self, trial: Trial) -> Path:
        return self._folder / f"{self.key(trial)}.npz"


def _together(trials: Sequence[Trial], processes: int) -> list[list[Trial]]:
    """What one graph serves for one worker, which traces it once; no more than its share of all trials."""
    served: dict[str, list[Trial]] = {}
    for trial in trials:
        served.setdefault(to_json(graph_of(trial.job)), []).append(trial)
    share = min(_MOST_TOGETHER, -(-len(trials) // processes))
    return [
        of_graph[start : start + share]
        for of_graph in served.values()
        for start in range(0, len(of_graph), share)
    ]


def _as_they_end(jobs: dict[Future[None], list[Trial]]) -> Iterator[tuple[Trial, int]]:
    waiting, left = set(jobs), sum(map(len, jobs.values()))
    while waiting:
        ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            future.result()
            for trial in jobs[future]:
                left -= 1
                yield trial, left


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


def _run_some(stream_folder: Path, folder: Path, trials: Sequence[Trial]) -> None:
    stream = _STREAM.setdefault(stream_folder, read_stream(stream_folder))
    for trial in trials:
        _run_one(stream, folder, trial)


def _run_one(stream: Stream, folder: Path, trial: Trial) -> None:
    from experiments.course import Course
    from experiments.soft_labels import soft_labels, treated

    soft = None
    if trial.labels is not None:
        teacher = read_outcome(folder / f"{trial.labels.teacher}.npz")
        tasks = {name: trial.job.tasks[name] for name in trial.job.distilled_tasks}
        labels = soft_labels(stream, teacher.rows, teacher.columns(tuple(tasks)), trial.labels.first_span)
        soft = treated(stream, labels, tasks, trial.labels, trial.job.seed)
    write_outcome(Course(stream, trial, soft).run(), folder / f"{trial.key(stream.key)}.npz")
