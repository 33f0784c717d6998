"""Runs trials in processes beside each other; what is done is kept, so that an experiment can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from eventlog.errors import BadInput
from experiments.trials.stream import Stream, read_stream
from experiments.trials.trial import Trial
from experiments.trials.trial_result import Outcome, read_outcome, write_outcome
from experiments.trials.workers import Piece, Workers
from models.job import graph_of
from models.settings import to_json

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
        self.workers = Workers(processes, _run_some)
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Schedule:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.workers.close(wait=kind is None)

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
        pieces = [
            Piece(graph, (self._stream_folder, self._folder, together))
            for graph, together in _together(list(missing.values()), self.processes)
        ]
        left = len(missing)
        try:
            for piece in self.workers.run(pieces):
                for trial in piece.work[-1]:
                    left -= 1
                    self._on_done(trial, left)
        except BrokenProcessPool as error:
            raise BadInput(
                "a worker was killed", where=str(self._folder), expected="enough memory for every process",
                got=str(error), fix="Run again with fewer --processes: what is done is kept.",
            ) from error  # fmt: skip

    def _file(self, trial: Trial) -> Path:
        return self._folder / f"{self.key(trial)}.npz"


def _together(trials: Sequence[Trial], processes: int) -> list[tuple[str, list[Trial]]]:
    """What one graph serves for one worker, which traces it once; no more than its share of all trials."""
    served: dict[str, list[Trial]] = {}
    for trial in trials:
        served.setdefault(to_json(graph_of(trial.job)), []).append(trial)
    share = min(_MOST_TOGETHER, -(-len(trials) // processes))
    return [
        (graph, of_graph[start : start + share])
        for graph, of_graph in served.items()
        for start in range(0, len(of_graph), share)
    ]


def _run_some(work: tuple[Path, Path, Sequence[Trial]]) -> None:
    stream_folder, folder, trials = work
    stream = _STREAM.setdefault(stream_folder, read_stream(stream_folder))
    for trial in trials:
        _run_one(stream, folder, trial)


def _run_one(stream: Stream, folder: Path, trial: Trial) -> None:
    from experiments.trials.soft_labels import soft_labels, treated
    from experiments.trials.trial_runner import Course

    soft = None
    if trial.labels is not None:
        teacher = read_outcome(folder / f"{trial.labels.teacher}.npz")
        tasks = {name: trial.job.tasks[name] for name in trial.job.distilled_tasks}
        labels = soft_labels(stream, teacher.rows, teacher.columns(tuple(tasks)), trial.labels.first_span)
        soft = treated(stream, labels, tasks, trial.labels, trial.job.seed)
    write_outcome(Course(stream, trial, soft).run(), folder / f"{trial.key(stream.key)}.npz")
