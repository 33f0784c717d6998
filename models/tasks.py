"""Settings of one task (a quantity that a model predicts), and the scale of its labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pydantic

from models.settings import Natural, settings

Labels = TypeVar("Labels")

_DELAY_IN_OLDER_ROOTS = 3


@settings
class Task:
    """One predicted quantity, with one hard label per example (null: masked).

    Attributes:
        kind: `binary` is a probability trained with cross-entropy; `regression` is an expected value.
        group: primary engagement (`pet`), primary satisfaction (`pst`), or `other`.
        unit: unit of the hard label in the event log, e.g. `probability`, `seconds` or `log1p_seconds`.
        scale: function that training and evaluation apply to a regression's hard label from the event log.
            Loss, soft label and served value stay on this scale. They are not converted back, because the
            expectation of a logarithm has no exact inverse. Use `identity` if the event log already has log1p
            values, such as the log1p of seconds.
        delay: number of spans from the impression's span to the span whose log brings the hard label. With 0
            the label is in the fresh row, otherwise in a matured row.
        weight: factor of this task's hard loss, >= 0.
        loss: loss of a regression's hard head. `squared` is the squared error. `ziln` is for labels
            >= 0 that are often 0: the negative log-likelihood of a zero-inflated normal distribution on the
            task's scale.
            Soft label and served value are the expectation of this distribution.

    Reference: Khani et al., RecSys '24 (PET and PST tasks); Wang et al., arXiv 1912.07753 (ZILN).
    """

    kind: Literal["binary", "regression"]
    group: Literal["pet", "pst", "other"]
    unit: str = "probability"
    scale: Literal["identity", "log1p"] = "identity"
    delay: Natural = 0
    weight: float = 1.0
    loss: Literal["squared", "ziln"] = "squared"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _convert_delayed(cls, values: Any) -> Any:
        """Converts `delayed`, which older roots recorded, to `delay`. All their delays were three spans."""
        if isinstance(values, dict) and "delayed" in values and "delay" not in values:
            rest = {name: value for name, value in values.items() if name != "delayed"}
            return rest | {"delay": _DELAY_IN_OLDER_ROOTS if values["delayed"] else 0}
        return values

    @property
    def delayed(self) -> bool:
        """Whether the hard label comes with a matured row instead of the fresh row."""
        return self.delay > 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(
                f"task weight must be a finite number >= 0, got {self.weight}. "
                "Use 0 to switch a hard loss off."
            )
        if self.kind == "binary" and self.scale != "identity":
            raise ValueError(
                f'a binary task has scale "identity", got "{self.scale}". Use kind "regression" for amounts.'
            )
        if self.kind == "binary" and self.loss != "squared":
            raise ValueError(f'loss is for kind "regression", got "{self.loss}" on kind "binary". Remove it.')


def to_task_scale(labels: Labels, task: Task, log1p: Callable[[Labels], Labels]) -> Labels:
    """Converts hard labels from the event log to the task's scale.

    Args:
        labels: array or tensor of any shape, in the task's unit.
        task: defines the scale.
        log1p: NumPy's or TensorFlow's `log1p`, to match the type of `labels`.
    """
    return log1p(labels) if task.scale == "log1p" else labels
