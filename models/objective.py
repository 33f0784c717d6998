"""What a ranker is trained for: hard + weight x soft, each averaged over the rows that have a label."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from models.job import TrainingJob
from models.losses import (
    binary_loss,
    mean_over_labels,
    regression_loss,
    soft_binary_loss,
    zero_inflated_loss,
)
from models.ranker import RankerLogits

Tensor = Any


class Targets(NamedTuple):
    """The labels of a batch; what is False in a mask has no label, and its value means nothing.

    Attributes:
        hard: `[batch, tasks]` float32, on the task's scale.
        hard_where: `[batch, tasks]` bool.
        soft: `[batch, distilled tasks]` float32, probabilities or values on the task's scale.
        soft_where: `[batch, distilled tasks]` bool.
    """

    hard: Tensor
    hard_where: Tensor
    soft: Tensor
    soft_where: Tensor


class Losses(NamedTuple):
    """Means over the rows with a label, on all replicas together; 0 where there are none.

    Attributes:
        total: scalar float32: the weighted sum that is minimised. With several replicas, this one's share.
        hard: `[tasks]` float32, unweighted.
        soft: `[distilled tasks]` float32, unweighted.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor


class Objective:
    """Adds up a job's losses.

    Reference: Khani et al., RecSys '24. The soft loss is added to the hard one and never
    mixed into its label: a row without a soft label counts exactly as it does for the control.

    Args:
        job: names tasks, weights and distillation.
    """

    def __init__(self, job: TrainingJob) -> None:
        names = list(job.tasks)
        distillation = [job.distillation[name] for name in job.distilled_tasks]
        self._is_binary = [task.kind == "binary" for task in job.tasks.values()]
        # Each task's column of (losses, zero-inflated losses) side by side.
        self._zero_inflated = [names.index(name) for name, task in job.tasks.items() if task.loss == "ziln"]
        self._hard_columns = [
            len(names) + self._zero_inflated.index(column) if column in self._zero_inflated else column
            for column in range(len(names))
        ]
        self._hard_weights = [task.weight for task in job.tasks.values()]
        self._soft_is_binary = [job.tasks[name].kind == "binary" for name in job.distilled_tasks]
        self.soft_weights = tf.Variable(soft_weights(job), trainable=False, dtype=tf.float32)
        """`[distilled tasks]` float32, a variable: a graph once traced serves other weights too."""
        self._temperatures = [settings.temperature for settings in distillation]
        # The column of (hard logits, soft logits) side by side that each soft label is compared with.
        self._soft_columns = [
            len(names) + job.auxiliary_tasks.index(name) if name in job.auxiliary_tasks else names.index(name)
            for name in job.distilled_tasks
        ]

    def __call__(self, logits: RankerLogits, targets: Targets) -> Losses:
        """The losses of a batch; see `Losses`."""
        hard = mean_over_labels(self._hard(logits, targets), targets.hard_where)
        total = tf.reduce_sum(hard * tf.constant(self._hard_weights, tf.float32))
        if not self._soft_columns:
            return Losses(total, hard, tf.zeros([0]))
        compared = tf.gather(tf.concat([logits.hard, logits.soft], axis=1), self._soft_columns, axis=1)
        soft = mean_over_labels(self._soft(compared, targets), targets.soft_where)
        total += tf.reduce_sum(soft * self.soft_weights)
        return Losses(total, hard, soft)

    def _hard(self, logits: RankerLogits, targets: Targets) -> Tensor:
        cross_entropy = binary_loss(logits.hard, targets.hard, targets.hard_where)
        squared_error = regression_loss(logits.hard, targets.hard, targets.hard_where)
        losses = tf.where(tf.constant([self._is_binary]), cross_entropy, squared_error)
        if not self._zero_inflated:
            return losses
        labels, where = (
            tf.gather(each, self._zero_inflated, axis=1) for each in (targets.hard, targets.hard_where)
        )
        own = zero_inflated_loss(logits.amounts, labels, where)
        return tf.gather(tf.concat([losses, own], axis=1), self._hard_columns, axis=1)

    def _soft(self, compared: Tensor, targets: Targets) -> Tensor:
        cross_entropy = soft_binary_loss(compared, targets.soft, targets.soft_where, self._temperatures)
        squared_error = regression_loss(compared, targets.soft, targets.soft_where)
        return tf.where(tf.constant([self._soft_is_binary]), cross_entropy, squared_error)


def soft_weights(job: TrainingJob) -> list[float]:
    """`[distilled tasks]`: the factors of the soft losses."""
    return [job.distillation[name].weight for name in job.distilled_tasks]
