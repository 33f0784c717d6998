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
    """A linear rise to the learning rate: (step + 1) / steps of it, then all of it; 0 steps do not rise.

    The rate is a variable, so that a graph once traced serves another rate too; checkpoints do not hold it.

    Reference: Khani et al., RecSys '24.
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        self.learning_rate = tf.Variable(learning_rate, trainable=False, dtype=tf.float32)
        self._steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate of `step`, which counts from 0 and goes on over warm starts."""
        if not self._steps:
            return tf.identity(self.learning_rate)
        return self.learning_rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1.0) / self._steps)

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments."""
        return {"learning_rate": float(self.learning_rate), "steps": self._steps}


class StaticShapes:
    """Makes of a Keras optimizer one whose update of embeddings has no shape that depends on the batch.

    Keras adds up the gradients of equal ids with `tf.unique`, whose result has as many rows as there are
    ids: XLA compiles it into something slower than the plain graph. Here the first of equal ids gets the sum
    and the others 0, which moves neither a slot nor a weight.
    """

    def _deduplicate_sparse_grad(self, gradients: Sequence[Any]) -> list[Any]:
        return [_summed_at_first(each) if isinstance(each, tf.IndexedSlices) else each for each in gradients]


class _StaticAdagrad(StaticShapes, tf.keras.optimizers.Adagrad):  # type: ignore[misc]
    pass


class _StaticAdam(StaticShapes, tf.keras.optimizers.Adam):  # type: ignore[misc]
    pass


_OPTIMIZERS = {
    ("adagrad", False): tf.keras.optimizers.Adagrad,
    ("adagrad", True): _StaticAdagrad,
    ("adam", False): tf.keras.optimizers.Adam,
    ("adam", True): _StaticAdam,
}
"""By name, and whether shapes are static."""


class Updates:
    """Applies gradients to a ranker's variables.

    Reference: Tang et al., Clippy, arXiv 2302.09178, algorithm 1. Differs: embeddings get plain Adagrad,
    since one rare row would else slow the whole table down.

    Args:
        optimizer: which one, and its stabilisers.
        embeddings: variables with sparse gradients.
        dense: all others.
        static_shapes: whether XLA is to compile the updates; it costs a pass over each table a step.
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
        """After warm-up; a scalar float32 variable that may be assigned."""
        main = _OPTIMIZERS[optimizer.name, static_shapes]
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


def _summed_at_first(gradient: Any) -> Any:
    ids, rows = gradient.indices, gradient.dense_shape[0]
    sums = tf.math.unsorted_segment_sum(gradient.values, ids, rows)
    places = tf.range(tf.size(ids))
    first = tf.gather(tf.math.unsorted_segment_min(places, ids, rows), ids) == places
    own = tf.where(first[:, tf.newaxis], tf.gather(sums, ids), 0.0)
    return tf.IndexedSlices(own, ids, gradient.dense_shape)


def _clippy(rate: Any) -> Any:
    return tfrs.experimental.optimizers.ClippyAdagrad(
        learning_rate=rate,
        variable_relative_threshold=_CLIPPY_RELATIVE_THRESHOLD,
        absolute_threshold=_CLIPPY_ABSOLUTE_THRESHOLD,
        use_standard_accumulator_update=True,
    )
