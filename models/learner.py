"""Training of one ranker on blocks of rows in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from eventlog.errors import BadInput
from models.job import TrainingJob, graph_settings
from models.objective import Losses, Objective, Targets, soft_weights
from models.ranker import Ranker
from models.updates import Updates

Tensor = Any
BlockSpec = tuple[dict[str, tf.TensorSpec], Targets]


class Diverged(BadInput):
    """The loss or a weight is no longer finite."""


class BlockSums(NamedTuple):
    """Sums of the `Losses` of several batches; a batch without a label of a task adds 0 for the task.

    Attributes:
        num_steps: scalar int32, the number of batches.
        total: scalar float32, sum of `Losses.total`.
        hard: `[tasks]` float32, sum of `Losses.hard`.
        soft: `[distilled tasks]` float32, sum of `Losses.soft`.
    """

    num_steps: Tensor
    total: Tensor
    hard: Tensor
    soft: Tensor


class Learner:
    """A ranker with its objective and optimizer.

    Args:
        job: the training job.
        block_spec: types and shapes of the features and `Targets` of a block of rows.
        static_shapes: see `models.updates.Updates`.
    """

    def __init__(self, job: TrainingJob, block_spec: BlockSpec, *, static_shapes: bool = False) -> None:
        self.job = job
        self.ranker = Ranker(job)
        self.updates = Updates(
            job.optimizer,
            self.ranker.embedding_variables,
            self.ranker.dense_variables,
            static_shapes=static_shapes,
        )
        self._objective = Objective(job)
        self._seed = tf.Variable(job.seed, trainable=False, dtype=tf.int64)
        self.train_block = self._trace(block_spec)
        """Trains on the batches of a block `(features, targets)`, in their order; returns `BlockSums`."""

    def switch_job(self, job: TrainingJob) -> None:
        """Switches to another job with the same graph; weights stay as they are.

        Raises:
            ValueError: if `graph_settings` of the two jobs differs.
        """
        if graph_settings(job) != graph_settings(self.job):
            raise ValueError(
                "only seed, passes, learning rate and soft weights may differ, got another model. Create a "
                "new learner for it."
            )
        self.job = job
        self._seed.assign(job.seed)
        self.updates.learning_rate.assign(job.optimizer.learning_rate)
        self._objective.soft_weights.assign(soft_weights(job))

    @property
    def step(self) -> int:
        """The number of updates so far, including those before warm starts."""
        return int(self.updates.step)

    def initialize_to_base_rates(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Sets the biases so that all heads predict the mean labels at first; see `Ranker.initialize_biases`.

        The heads of a regression without labels stay unchanged.

        Args:
            sums: `[tasks]`, sums of the hard labels on their tasks' scales.
            counts: `[tasks]`, numbers of hard labels.
        """
        outputs = {}
        for (name, task), total, count in zip(self.job.tasks.items(), sums, counts, strict=True):
            if task.kind == "binary":
                # Adds half a row of each class, so that a task without positives has a finite logit.
                outputs[name] = math.log((total + 0.5) / (count - total + 0.5))
            elif count:
                outputs[name] = total / count
        self.ranker.initialize_biases(outputs)

    def values(self) -> list[np.ndarray]:
        """A snapshot of weights, optimizer slots and step, for `restore`."""
        return [variable.numpy() for variable in self._all_variables]

    def restore(self, values: Sequence[np.ndarray]) -> None:
        """Sets all variables to a snapshot; the traced graph stays."""
        for variable, value in zip(self._all_variables, values, strict=True):
            variable.assign(value)

    @property
    def _all_variables(self) -> list[Tensor]:
        return [*self.updates.variables, *self.updates.slots]

    def zero_sums(self) -> BlockSums:
        """The sums before the first batch: zeros."""
        hard, soft = len(self.job.tasks), len(self.job.distilled_tasks)
        return BlockSums(tf.constant(0), tf.constant(0.0), tf.zeros([hard]), tf.zeros([soft]))

    def require_finite(self, where: str, sums: BlockSums) -> None:
        """Checks the loss of a block and the weights after the block.

        Args:
            where: role, span and pass, for the error message.
            sums: the block's sums.

        Raises:
            Diverged: if the loss or a weight is not finite.
        """
        finite = all(bool(tf.reduce_all(tf.math.is_finite(variable))) for variable in self.updates.variables)
        loss = float(sums.total)
        if not math.isfinite(loss) or not finite:
            raise Diverged(
                "training diverged",
                where=where,
                expected="a finite loss and finite weights",
                got=f"loss {loss}" + ("" if finite else " and weights that are not finite"),
                fix="Lower learning_rate, or use warm_up_steps, activation_clip or clippy; check the labels.",
            )

    def _trace(self, block_spec: BlockSpec) -> Callable[[Mapping[str, Tensor], Targets], BlockSums]:
        # The batch loop is in the graph, because starting a step from Python takes as long as a small batch.
        traced: Callable[[Mapping[str, Tensor], Targets], BlockSums] = tf.function(
            self._train_block, input_signature=block_spec
        )
        return traced

    def _train_block(self, features: Mapping[str, Tensor], targets: Targets) -> BlockSums:
        sums = self.zero_sums()
        for start in tf.range(0, tf.shape(targets.hard)[0], self.job.batch_size):
            end = start + self.job.batch_size
            batch = {name: column[start:end] for name, column in features.items()}
            losses = self._train_step(batch, Targets(*(column[start:end] for column in targets)))
            sums = add_sums(sums, BlockSums(tf.constant(1), losses.total, losses.hard, losses.soft))
        return sums

    # AutoGraph would need seconds to rewrite all of Keras, and the step has no Python control flow on
    # tensors.
    @tf.autograph.experimental.do_not_convert
    def _train_step(self, features: Mapping[str, Tensor], targets: Targets) -> Losses:
        # Combines seed and step, so that every step of every seed drops different units.
        dropout_seed = self._seed * 2**32 + tf.cast(self.updates.step, tf.int64)
        with tf.GradientTape() as tape:
            losses = self._objective(self.ranker(features, dropout_seed), targets)
        self.updates.apply(tape.gradient(losses.total, self.updates.variables))
        return losses


def add_sums(sums: BlockSums, more: BlockSums) -> BlockSums:
    """Adds two sums, element by element."""
    return BlockSums(*(total + value for total, value in zip(sums, more, strict=True)))
