"""What came of a trial, in memory and on disk."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        rows: `[kept]` int64, the fresh rows of the kept spans.
        tasks: the job's.
        predictions: `[kept, tasks]` float32, NaN without a model.
        diverged: the reason, or nothing.
        seconds: of learning and scoring, the tracing of the graphs apart.
        num_parameters: of the served model.
        flops_per_row: multiplications and additions that one served row takes.
    """

    rows: Array
    tasks: tuple[str, ...]
    predictions: Array
    diverged: str
    seconds: float
    num_parameters: int
    flops_per_row: float

    def columns(self, tasks: Sequence[str]) -> Array:
        """`[kept, tasks]` float32: the predictions of some tasks."""
        return self.predictions[:, [self.tasks.index(name) for name in tasks]]


def write_outcome(outcome: Outcome, path: Path) -> None:
    """Writes all of it or nothing."""
    partial = path.with_name(f".{uuid.uuid4().hex}.npz")
    np.savez(partial, **vars(outcome))
    partial.replace(path)


def read_outcome(path: Path) -> Outcome:
    """The inverse of `write_outcome`."""
    with np.load(path) as file:
        return Outcome(
            rows=file["rows"],
            tasks=tuple(file["tasks"].tolist()),
            predictions=file["predictions"],
            diverged=str(file["diverged"]),
            seconds=float(file["seconds"]),
            num_parameters=int(file["num_parameters"]),
            flops_per_row=float(file["flops_per_row"]),
        )
