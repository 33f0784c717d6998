"""What a model predicts: one task per question asked about an impression."""

from __future__ import annotations

import math
from typing import Literal

from models.settings import settings


@settings
class Task:
    """One thing predicted, with one hard label per example (null: masked).

    Attributes:
        kind: `binary` is a probability trained with cross-entropy; `regression` an expected value trained
            with squared error.
        group: primary engagement (`pet`), primary satisfaction (`pst`), or `other`.
        unit: what the served value counts, e.g. `probability` or `seconds`.
        scale: the scale of a regression's loss, soft label and served value. Hard labels are logged in
            `unit` itself and brought to this scale by the loss; the expectation of a logarithm has no
            exact way back, so the served value stays on this scale.
        delayed: whether the hard label comes with the matured row instead of the fresh one.
        weight: factor of this task's hard loss, >= 0.
        loss: of a regression's hard head: `squared`, or `ziln` (zero-inflated lognormal) for amounts that are
            often 0 and else heavy-tailed, never below 0; soft label and served value are its expectation.

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
