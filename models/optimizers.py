"""Settings for the optimizer: name, learning rate, warm-up and Clippy."""

from __future__ import annotations

import math
from typing import Literal

from models.settings import settings


@settings
class Optimizer:
    """An optimizer, its learning rate, and the settings that stabilise its updates.

    Attributes:
        name: `adagrad` or `adam`.
        learning_rate: learning rate after warm-up, > 0.
        warm_up_steps: number of steps in which the learning rate rises linearly to `learning_rate`. After a
            warm start, the steps of the base model are counted too.
        clippy: whether Clippy limits the updates of the dense parameters (only with `adagrad`).

    Reference: Khani et al., RecSys '24 (warm-up, Clippy); Tang et al., arXiv 2302.09178.
    """

    name: Literal["adagrad", "adam"]
    learning_rate: float
    warm_up_steps: int = 0
    clippy: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a finite number > 0, got {self.learning_rate}.")
        if self.warm_up_steps < 0:
            raise ValueError(f"warm_up_steps must be >= 0, got {self.warm_up_steps}. Use 0 for no warm-up.")
        if self.clippy and self.name != "adagrad":
            raise ValueError(f'clippy needs the optimizer "adagrad", got "{self.name}". Change one.')
