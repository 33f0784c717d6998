"""A learner whose steps XLA compiles, for models that are trained hundreds of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.job import TrainingJob
from models.learner import BlockSpec, BlockSums, Learner, add_sums
from models.objective import Targets

Array = Any
Tensor = Any

_STEPS = 64
"""In one call: the most that a block holds."""


class CompiledLearner(Learner):
    """Learns what `Learner` does, up to rounding and to what dropout draws, in a third of the time a step.

    Compiling takes seconds. XLA knows every shape beforehand, so a block of any length is cut into pieces of
    whole batches; the rows that fill up the last one have no label, and so change nothing.

    Args:
        job: what to train.
        block_spec: as of `Learner`.
    """

    def __init__(self, job: TrainingJob, block_spec: BlockSpec) -> None:
        super().__init__(job, block_spec, static_shapes=True)

    def _traced(self, block_spec: BlockSpec) -> Callable[[Mapping[str, Array], Targets], BlockSums]:
        size = _STEPS * self.job.batch_size

        def of_piece(spec: tf.TensorSpec) -> tf.TensorSpec:
            return tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)

        features, targets = block_spec
        signature = (
            {name: of_piece(spec) for name, spec in features.items()},
            Targets(*map(of_piece, targets)),
            tf.TensorSpec([], tf.int32),
        )
        train = tf.function(self._train_steps, input_signature=signature, jit_compile=True, autograph=False)

        def train_block(features: Mapping[str, Array], targets: Targets) -> BlockSums:
            sums, num_rows = self.no_sums(), len(targets.hard)
            for start in range(0, num_rows, size):
                rows = min(size, num_rows - start)

                def piece(column: Array, start: int = start) -> Array:
                    return _filled(np.asarray(column[start : start + size]), size)

                steps = -(-rows // self.job.batch_size)
                trained = train(
                    {name: piece(column) for name, column in features.items()},
                    Targets(*map(piece, targets)),
                    tf.constant(steps),
                )
                sums = add_sums(sums, trained)
            return sums

        return train_block

    def _train_steps(self, features: Mapping[str, Tensor], targets: Targets, num_steps: Tensor) -> BlockSums:
        size = self.job.batch_size

        def body(step: Tensor, sums: BlockSums) -> tuple[Tensor, BlockSums]:
            def batch(column: Tensor) -> Tensor:
                rest = column.shape[1:]
                return tf.slice(column, [step * size, *([0] * len(rest))], [size, *rest])

            losses = self._train_step(
                {name: batch(column) for name, column in features.items()}, Targets(*map(batch, targets))
            )
            return step + 1, add_sums(sums, BlockSums(tf.constant(1), losses.total, losses.hard, losses.soft))

        begin = (tf.constant(0), self.no_sums())
        _, sums = tf.while_loop(lambda step, _: step < num_steps, body, begin)
        return BlockSums(*sums)


def _filled(column: Array, size: int) -> Array:
    """Rows of zeros behind the last one: False in a mask, the row of missing values in an embedding."""
    missing = size - len(column)
    return np.pad(column, [(0, missing), *([(0, 0)] * (column.ndim - 1))]) if missing else column
