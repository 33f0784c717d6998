"""How gradients become updates: Adagrad or Adam, warm-up, and Clippy on the dense parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.optimizers import Optimizer

Tensor = Any

_CLIPPY_RELATIVE_THRESHOLD = 0.5
_CLIPPY_ABSOLUTE_THRESHOLD = 1e-2
"""The paper's. With TFRS's own defaults a single coordinate near zero freezes its whole variable."""


class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to the learning rate: (step + 1) / steps of it, then all of it.

    Reference: Khani et al., RecSys '24.
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        self._learning_rate = learning_rate
        self._steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate of `step`, which counts from 0 and goes on over warm starts."""
        return self._learning_rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1.0) / self._steps)

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments."""
        return {"learning_rate": self._learning_rate, "steps": self._steps}


class Updates:
    """Applies gradients to a ranker's variables.

    Reference: Tang et al., Clippy, arXiv 2302.09178, algorithm 1. Differs: embeddings get plain Adagrad,
    since one rare row would else slow the whole table down.

    Args:
        optimizer: which one, and its stabilisers.
        embeddings: variables with sparse gradients.
        dense: all others.
    """

    def __init__(self, optimizer: Optimizer, embeddings: Sequence[Tensor], dense: Sequence[Tensor]) -> None:
        rate: Any = optimizer.learning_rate
        if optimizer.warm_up_steps:
            rate = WarmUp(optimizer.learning_rate, optimizer.warm_up_steps)
        main = tf.keras.optimizers.Adam if optimizer.name == "adam" else tf.keras.optimizers.Adagrad
        self._groups = [list(embeddings), list(dense)] if optimizer.clippy else [[*embeddings, *dense]]
        self._optimizers = [main(learning_rate=rate)]
        if optimizer.clippy:
            self._optimizers.append(_clippy(rate))
        for built, variables in zip(self._optimizers, self._groups, strict=True):
            built.build(variables)
        self.state = tf.train.Checkpoint(optimizers=self._optimizers)
        """Slots and step, to be part of a checkpoint."""

    @property
    def step(self) -> Tensor:
        """Scalar int64 variable: the number of updates so far, warm starts included."""
        return self._optimizers[0].iterations

    @property
    def variables(self) -> list[Tensor]:
        """What is updated, in the order in which `apply` expects gradients."""
        return [variable for group in self._groups for variable in group]

    @property
    def slots(self) -> list[Tensor]:
        """What the optimizers remember, their steps included."""
        return [variable for built in self._optimizers for variable in built.variables]

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """One step.

        Args:
            gradients: one per variable of `variables`; None leaves a variable as it is.
        """
        start = 0
        for optimizer, variables in zip(self._optimizers, self._groups, strict=True):
            group = gradients[start : start + len(variables)]
            optimizer.apply_gradients(zip(group, variables, strict=True))
            start += len(variables)


def _clippy(rate: Any) -> Any:
    return tfrs.experimental.optimizers.ClippyAdagrad(
        learning_rate=rate,
        variable_relative_threshold=_CLIPPY_RELATIVE_THRESHOLD,
        absolute_threshold=_CLIPPY_ABSOLUTE_THRESHOLD,
        use_standard_accumulator_update=True,
    )
