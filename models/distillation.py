"""Settings for the distillation of one task: strategy, soft head, weight and temperature."""

from __future__ import annotations

import math
from typing import Literal

from models.settings import settings


@settings
class Distillation:
    """Settings for the distillation of one task of a student.

    Attributes:
        strategy: `direct` applies the soft loss to the hard logit. `auxiliary` applies the soft loss to a
            separate soft logit, which is never served. `none` uses no soft labels.
        head: layers of an auxiliary soft head. `logit` is one layer on the task's tower; `tower` is a tower
            of its own with a logit layer.
        weight: factor of the task's soft loss, >= 0.
        temperature: divides the teacher's and the student's logits in the soft loss, > 0; 1 for regression.
        trunk_gradient_scale: factor of the gradient from an auxiliary soft head into the layers that it
            shares with the hard head, >= 0. With 0 the soft loss trains only the soft head.

    Reference: Khani et al., RecSys '24: auxiliary distillation keeps the teacher's bias out of
    the served logit. The gradient scale is not in the paper.
    """

    strategy: Literal["none", "direct", "auxiliary"]
    head: Literal["logit", "tower"] = "logit"
    weight: float = 1.0
    temperature: float = 1.0
    trunk_gradient_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(
                f"soft loss weight must be a finite number >= 0, got {self.weight}. "
                'Use strategy "none" to train this task without soft labels.'
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"temperature must be a finite number > 0, got {self.temperature}. "
                "Use 1 to leave logits as they are."
            )
        if not (math.isfinite(self.trunk_gradient_scale) and self.trunk_gradient_scale >= 0):
            raise ValueError(
                f"trunk_gradient_scale must be a finite number >= 0, got {self.trunk_gradient_scale}. "
                "Use 0 to keep the soft loss out of the trunk."
            )
        if self.strategy == "direct" and (self.head, self.trunk_gradient_scale) != ("logit", 1.0):
            raise ValueError(
                'head and trunk_gradient_scale configure a soft head, and strategy "direct" has none, got '
                f'head "{self.head}" and trunk_gradient_scale {self.trunk_gradient_scale}. '
                'Remove them or use strategy "auxiliary".'
            )
