"""Optimizers: Adagrad or Adam with warm-up, and Clippy on the dense parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.optimizers import Optimizer

Tensor = Any

_CLIPPY_RELATIVE_THRESHOLD = 0.5
_CLIPPY_ABSOLUTE_THRESHOLD = 1e-2
"""Clippy's thresholds, from the paper. With TFRS's defaults, one weight near 0 freezes its variable."""


class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up: learning rate x min(1, (step + 1) / steps); 0 steps mean no warm-up.

    The rate is a variable, so that one traced graph serves several rates; checkpoints do not contain it.

    Reference: Khani et al., RecSys '24.
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        self.learning_rate = tf.Variable(learning_rate, trainable=False, dtype=tf.float32)
        self._steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate after `step` updates, including those before warm starts."""
        if not self._steps:
            return tf.identity(self.learning_rate)
        return self.learning_rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1.0) / self._steps)

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments."""
        return {"learning_rate": float(self.learning_rate), "steps": self._steps}


class _StaticShapes:
    """Mixin for a Keras optimizer: sparse updates whose shapes do not depend on the batch.

    Keras sums the gradients of equal ids with `tf.unique`, whose output size varies. Compiled by XLA, this is
    slower than without XLA. Here the first row of each id has the sum of the id's gradients. The other rows
    have 0, which changes no slot and no weight.
    """

    def _deduplicate_sparse_grad(self, gradients: Sequence[Any]) -> list[Any]:
        return [
            _sum_at_first(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in gradients
        ]


class _StaticAdagrad(_StaticShapes, tf.keras.optimizers.Adagrad):  # type: ignore[misc]
    pass


class _StaticAdam(_StaticShapes, tf.keras.optimizers.Adam):  # type: ignore[misc]
    pass


_OPTIMIZERS = {
    ("adagrad", False): tf.keras.optimizers.Adagrad,
    ("adagrad", True): _StaticAdagrad,
    ("adam", False): tf.keras.optimizers.Adam,
    ("adam", True): _StaticAdam,
}
"""Optimizer classes by name and `static_shapes`."""


class Updates:
    """Applies gradients to a ranker's variables.

    Reference: Tang et al., Clippy, arXiv 2302.09178, algorithm 1. Differs: embeddings use plain Adagrad, not
    Clippy, because one rare row would slow down the whole table.

    Args:
        optimizer: settings.
        embeddings: variables with sparse gradients.
        dense: all other variables.
        static_shapes: whether XLA compiles the updates. They then pass over each whole table in every step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        embeddings: Sequence[Tensor],
        dense: Sequence[Tensor],
        *,
        static_shapes: bool = False,
    ) -> None:
        rate = WarmUp(optimizer.learning_rate, optimizer.warm_up_steps)
        self.learning_rate = rate.learning_rate
        """Learning rate after warm-up; a scalar float32 variable that may be assigned."""
        optimizer_class = _OPTIMIZERS[optimizer.name, static_shapes]
        self._groups = [list(embeddings), list(dense)] if optimizer.clippy else [[*embeddings, *dense]]
        self._optimizers = [optimizer_class(learning_rate=rate)]
        if optimizer.clippy:
            self._optimizers.append(_clippy(rate))
        for keras_optimizer, variables in zip(self._optimizers, self._groups, strict=True):
            keras_optimizer.build(variables)
        self.state = tf.train.Checkpoint(optimizers=self._optimizers)
        """Slots and step, for a checkpoint."""

    @property
    def step(self) -> Tensor:
        """Scalar int64 variable: the number of updates so far, including those before warm starts."""
        return self._optimizers[0].iterations

    @property
    def variables(self) -> list[Tensor]:
        """The updated variables, in the order of the gradients of `apply`."""
        return [variable for group in self._groups for variable in group]

    @property
    def slots(self) -> list[Tensor]:
        """The state variables of the optimizers, including their steps."""
        return [variable for keras_optimizer in self._optimizers for variable in keras_optimizer.variables]

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """Updates the variables by one step.

        Args:
            gradients: one per variable of `variables`; None leaves the variable unchanged.
        """
        start = 0
        for optimizer, variables in zip(self._optimizers, self._groups, strict=True):
            group = gradients[start : start + len(variables)]
            optimizer.apply_gradients(zip(group, variables, strict=True))
            start += len(variables)


def _sum_at_first(gradient: Any) -> Any:
    ids, num_rows = gradient.indices, gradient.dense_shape[0]
    sums = tf.math.unsorted_segment_sum(gradient.values, ids, num_rows)
    positions = tf.range(tf.size(ids))
    is_first = tf.gather(tf.math.unsorted_segment_min(positions, ids, num_rows), ids) == positions
    values = tf.where(is_first[:, tf.newaxis], tf.gather(sums, ids), 0.0)
    return tf.IndexedSlices(values, ids, gradient.dense_shape)


def _clippy(rate: Any) -> Any:
    return tfrs.experimental.optimizers.ClippyAdagrad(
        learning_rate=rate,
        variable_relative_threshold=_CLIPPY_RELATIVE_THRESHOLD,
        absolute_threshold=_CLIPPY_ABSOLUTE_THRESHOLD,
        use_standard_accumulator_update=True,
    )
