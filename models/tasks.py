"""Settings of one task (a quantity that a model predicts), and the scale of its labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeVar

from models.settings import settings

Labels = TypeVar("Labels")


@settings
class Task:
    """One predicted quantity, with one hard label per example (null: masked).

    Attributes:
        kind: `binary` is a probability trained with cross-entropy; `regression` is an expected value.
        group: primary engagement (`pet`), primary satisfaction (`pst`), or `other`.
        unit: unit of the hard label in the event log, e.g. `probability`, `seconds` or `log1p_seconds`.
        scale: function that the reader applies to a regression's logged hard label, see `to_task_scale`.
            Loss, soft label and served value are on this scale, since the expectation of a logarithm has no
            exact inverse. Use `identity` if the log holds log1p values already, as `eventlog.rows` does (unit
            `log1p_seconds`).
        delayed: whether the hard label comes with the matured row instead of the fresh row.
        weight: factor of this task's hard loss, >= 0.
        loss: loss of a regression's hard head. `squared` is the squared error. `ziln` is for labels
            >= 0 that are often 0: a zero-inflated normal on the task's scale. Soft label and served value are
            its expectation on that scale.

    Reference: Khani et al., RecSys '24 (PET and PST tasks); Wang et al., arXiv 1912.07753 (ZILN).
    """

    kind: Literal["binary", "regression"]
    group: Literal["pet", "pst", "other"]
    unit: str = "probability"
    scale: Literal["identity", "log1p"] = "identity"
    delayed: bool = False
    weight: float = 1.0
    loss: Literal["squared", "ziln"] = "squared"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"task weight must be >= 0, got {self.weight}. Use 0 to switch a hard loss off.")
        if self.kind == "binary" and self.scale != "identity":
            raise ValueError(
                f'a binary task has scale "identity", got "{self.scale}". Use kind "regression" for amounts.'
            )
        if self.kind == "binary" and self.loss != "squared":
            raise ValueError(f'loss is for kind "regression", got "{self.loss}" on kind "binary". Remove it.')


def to_task_scale(labels: Labels, task: Task, log1p: Callable[[Labels], Labels]) -> Labels:
    """Hard labels on the task's scale, from hard labels as logged.

    Args:
        labels: any shape, in the task's unit.
        task: defines the scale.
        log1p: NumPy's or TensorFlow's, to match `labels`.
    """
    return log1p(labels) if task.scale == "log1p" else labels
