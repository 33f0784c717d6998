"""Predictions and costs of a trial, in memory and as a file."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class TrialResult:
    """Predictions and costs of a trial.

    Attributes:
        rows: `[rows]` int64, indices in the stream: the fresh rows from span `Trial.kept_from` on.
        tasks: names of the job's tasks, in the order of the columns of `predictions`.
        predictions: `[rows, tasks]` float32 on the tasks' scales, probabilities for binary tasks; NaN for a
            row that no model has scored.
        diverged: the reason if training diverged, otherwise empty.
        seconds: duration of training and scoring, with the training of a shared prefix but without tracing.
        num_parameters: number of weights of the served model.
        flops_per_row: multiplications and additions to serve one row.
    """

    rows: Array
    tasks: tuple[str, ...]
    predictions: Array
    diverged: str
    seconds: float
    num_parameters: int
    flops_per_row: float

    def columns(self, tasks: Sequence[str]) -> Array:
        """`[rows, len(tasks)]` float32: the predictions of `tasks`."""
        return self.predictions[:, [self.tasks.index(name) for name in tasks]]


def write_trial_result(result: TrialResult, path: Path) -> None:
    """Writes a result to the file `path`, atomically."""
    partial = path.with_name(f".{uuid.uuid4().hex}.npz")
    np.savez(partial, **vars(result))
    partial.replace(path)


def read_trial_result(path: Path) -> TrialResult:
    """Reads a result that `write_trial_result` has written."""
    with np.load(path) as file:
        return TrialResult(
            rows=file["rows"],
            tasks=tuple(file["tasks"].tolist()),
            predictions=file["predictions"],
            diverged=str(file["diverged"]),
            seconds=float(file["seconds"]),
            num_parameters=int(file["num_parameters"]),
            flops_per_row=float(file["flops_per_row"]),
        )
