"""Runs trials in worker processes; keeps each result as a file, so that a killed experiment can resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from eventlog.errors import BadInput
from experiments.trials.shared_prefix import PrefixCache
from experiments.trials.stream import ExampleStream, read_stream
from experiments.trials.trial import Trial
from experiments.trials.trial_result import TrialResult, read_trial_result, write_trial_result
from experiments.trials.workers import WorkerPool, WorkItem
from models.job import graph_settings
from models.settings import to_json

MAX_TRIALS_PER_GROUP = 6
"""Maximum number of trials that a worker runs as one work item."""
_STREAMS: dict[Path, ExampleStream] = {}
"""The streams that this worker process has mapped into memory, by folder."""
_PREFIXES = PrefixCache()
"""Models of this worker process after the spans before the first soft label, which several trials share."""


class TrialScheduler:
    """Runs trials on one stream. Each result is one file; a trial with a result file does not run again.

    Args:
        stream: folder of the stream.
        folder: folder of the results.
        processes: number of worker processes, one core each.
        on_done: called for each trial when its group has finished, with the trial and the number of trials
            that remain in this `run`.
    """

    def __init__(
        self, stream: Path, folder: Path, processes: int, on_done: Callable[[Trial, int], Any]
    ) -> None:
        self.stream = read_stream(stream)
        self.processes = processes
        self._stream_folder = stream
        self._folder = folder
        self._on_done = on_done
        self._workers = WorkerPool(processes, _run_group)
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> TrialScheduler:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._workers.close(wait=kind is None)

    def key(self, trial: Trial) -> str:
        """The key of a trial on this stream, which names its result's file."""
        return trial.key(self.stream.key)

    def run(self, trials: Sequence[Trial]) -> list[TrialResult]:
        """Runs the trials that have no result yet; returns the results of all, in the order of `trials`.

        The teacher's trial of a distilled student must already have a result.

        Raises:
            BadInput: if a worker process is killed, for example because memory ran out.
        """
        missing = {self.key(trial): trial for trial in trials if not self._result_file(trial).is_file()}
        if missing:
            self._run(missing)
        return [read_trial_result(self._result_file(trial)) for trial in trials]

    def num_missing(self, trials: Sequence[Trial]) -> int:
        """The number of trials that have no result yet."""
        return len({self.key(trial) for trial in trials if not self._result_file(trial).is_file()})

    def _run(self, missing: Mapping[str, Trial]) -> None:
        items = [
            WorkItem(graph, (self._stream_folder, self._folder, group))
            for graph, group in group_by_graph(list(missing.values()), self.processes)
        ]
        left = len(missing)
        try:
            for item in self._workers.run(items):
                for trial in item.argument[-1]:
                    left -= 1
                    self._on_done(trial, left)
        except BrokenProcessPool as error:
            raise BadInput(
                "a worker was killed", where=str(self._folder), expected="enough memory for every process",
                got=str(error), fix="Run again with fewer --processes; finished trials are kept.",
            ) from error  # fmt: skip

    def _result_file(self, trial: Trial) -> Path:
        return self._folder / f"{self.key(trial)}.npz"


def group_by_graph(trials: Sequence[Trial], processes: int) -> list[tuple[str, list[Trial]]]:
    """Groups trials that share one traced graph, for the workers.

    A group has at most `MAX_TRIALS_PER_GROUP` trials, and no more than a worker's share of all trials.

    Returns:
        For each group, the settings of the graph as JSON and the trials.
    """
    trials_of_graph: dict[str, list[Trial]] = {}
    for trial in trials:
        trials_of_graph.setdefault(to_json(graph_settings(trial.job)), []).append(trial)
    group_size = min(MAX_TRIALS_PER_GROUP, math.ceil(len(trials) / processes))
    return [
        (graph, graph_trials[start : start + group_size])
        for graph, graph_trials in trials_of_graph.items()
        for start in range(0, len(graph_trials), group_size)
    ]


def _run_group(argument: tuple[Path, Path, Sequence[Trial]]) -> None:
    """Runs trials in a worker process and writes their results.

    Args:
        argument: folder of the stream, folder of the results, the trials.
    """
    # Imported here, because they import TensorFlow, which only worker processes need.
    from experiments.trials.soft_labels import soft_labels
    from experiments.trials.trial_runner import TrialRunner

    stream_folder, folder, trials = argument
    stream = _STREAMS.setdefault(stream_folder, read_stream(stream_folder))
    for trial in trials:
        soft = None
        if trial.label_source is not None:
            teacher = read_trial_result(folder / f"{trial.label_source.teacher}.npz")
            tasks = {name: trial.job.tasks[name] for name in trial.job.distilled_tasks}
            soft = soft_labels(stream, teacher, tasks, trial.label_source, trial.job.seed)
        result = TrialRunner(stream, trial, soft, _PREFIXES).run()
        write_trial_result(result, folder / f"{trial.key(stream.key)}.npz")
