"""One ranker as it learns from rows in memory: reading them and keeping it is somebody else's job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from eventlog.errors import BadInput
from models.job import TrainingJob, graph_of
from models.objective import Losses, Objective, Targets, soft_weights
from models.ranker import Ranker
from models.updates import Updates

Tensor = Any
BlockSpec = tuple[dict[str, tf.TensorSpec], Targets]


class Diverged(BadInput):
    """The loss or a weight is no longer finite."""


class BlockSums(NamedTuple):
    """Losses of some batches, added up, as tensors; a batch without a label of a task adds 0 for it.

    Attributes:
        num_steps: scalar int32, the batches.
        total: scalar float32.
        hard: `[tasks]` float32.
        soft: `[distilled tasks]` float32.
    """

    num_steps: Tensor
    total: Tensor
    hard: Tensor
    soft: Tensor


class Learner:
    """A ranker, what it is trained for and how its weights are updated.

    Args:
        job: what to train.
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
        self.train_block = self._traced(block_spec)
        """Trains on the batches of a block `(features, targets)`, in their order; gives `BlockSums`."""

    def become(self, job: TrainingJob) -> None:
        """Takes the settings of another job that the same graph serves; weights stay as they are.

        Raises:
            ValueError: if the job differs in more than `graph_of` leaves out.
        """
        if graph_of(job) != graph_of(self.job):
            raise ValueError(
                "only seed, passes, learning rate and soft weights may differ, got another model. Make a "
                "learner of its own."
            )
        self.job = job
        self._seed.assign(job.seed)
        self.updates.learning_rate.assign(job.optimizer.learning_rate)
        self._objective.soft_weights.assign(soft_weights(job))

    @property
    def step(self) -> int:
        """The number of updates so far, warm starts included."""
        return int(self.updates.step)

    def start_at_base_rates(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Lets every head begin with its task's mean; see `Ranker.start_at`.

        Args:
            sums: `[tasks]` of the hard labels on their tasks' scales.
            counts: `[tasks]`, how many there are.
        """
        outputs = {}
        for (name, task), total, count in zip(self.job.tasks.items(), sums, counts, strict=True):
            if task.kind == "binary":
                # Half a row of either class: the logit of a task without positives is finite.
                outputs[name] = math.log((total + 0.5) / (count - total + 0.5))
            elif count:
                outputs[name] = total / count
        self.ranker.start_at(outputs)

    def values(self) -> list[np.ndarray]:
        """Weights, optimizer slots and step as they are: what `restore` goes back to."""
        return [variable.numpy() for variable in self._everything]

    def restore(self, values: Sequence[np.ndarray]) -> None:
        """Goes back to what `values` gave, without tracing the graph anew."""
        for variable, value in zip(self._everything, values, strict=True):
            variable.assign(value)

    @property
    def _everything(self) -> list[Tensor]:
        return [*self.updates.variables, *self.updates.slots]

    def no_sums(self) -> BlockSums:
        """The sums of no batch."""
        hard, soft = len(self.job.tasks), len(self.job.distilled_tasks)
        return BlockSums(tf.constant(0), tf.constant(0.0), tf.zeros([hard]), tf.zeros([soft]))

    def require_finite(self, where: str, sums: BlockSums) -> None:
        """Checks a block's loss and the weights behind it.

        Raises:
            Diverged: naming `where`, if one of them is not finite.
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

    def _traced(self, block_spec: BlockSpec) -> Callable[[Mapping[str, Tensor], Targets], BlockSums]:
        # The whole block in the graph: a step from Python costs as much as a small batch.
        traced: Callable[[Mapping[str, Tensor], Targets], BlockSums] = tf.function(
            self._train_block, input_signature=block_spec
        )
        return traced

    def _train_block(self, features: Mapping[str, Tensor], targets: Targets) -> BlockSums:
        """The last batch may be smaller."""
        sums = self.no_sums()
        for start in tf.range(0, tf.shape(targets.hard)[0], self.job.batch_size):
            end = start + self.job.batch_size
            batch = {name: column[start:end] for name, column in features.items()}
            losses = self._train_step(batch, Targets(*(column[start:end] for column in targets)))
            sums = add_sums(sums, BlockSums(tf.constant(1), losses.total, losses.hard, losses.soft))
        return sums

    @tf.autograph.experimental.do_not_convert
    def _train_step(self, features: Mapping[str, Tensor], targets: Targets) -> Losses:
        """One update. Nothing in it needs AutoGraph, which would rewrite all of Keras for seconds."""
        # Seeds and steps side by side in one number, so that no two runs drop the same units.
        draw = self._seed * 2**32 + tf.cast(self.updates.step, tf.int64)
        with tf.GradientTape() as tape:
            losses = self._objective(self.ranker(features, draw), targets)
        self.updates.apply(tape.gradient(losses.total, self.updates.variables))
        return losses


def add_sums(sums: BlockSums, more: BlockSums) -> BlockSums:
    """Both, added up."""
    return BlockSums(*(total + value for total, value in zip(sums, more, strict=True)))
