"""Training objective of a ranker: hard loss + weight x soft loss, each averaged over its labelled rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from models.job import TrainingJob
from models.losses import binary_loss, mean_over_labels, regression_loss, soft_binary_loss, zero_inflated_loss
from models.ranker import RankerLogits

Tensor = Any


class Targets(NamedTuple):
    """The labels of a batch; a value whose mask is False is undefined.

    Attributes:
        hard: `[batch, tasks]` float32, on the task's scale.
        hard_where: `[batch, tasks]` bool.
        soft: `[batch, distilled tasks]` float32, probabilities, or expected values on the task's scale.
        soft_where: `[batch, distilled tasks]` bool.
    """

    hard: Tensor
    hard_where: Tensor
    soft: Tensor
    soft_where: Tensor


class Losses(NamedTuple):
    """Mean losses over the labelled rows; 0 for a task without labels.

    With several replicas, each value is this replica's share. The shares add up to the mean.

    Attributes:
        total: scalar float32, the minimised weighted sum.
        hard: `[tasks]` float32, unweighted.
        soft: `[distilled tasks]` float32, unweighted.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor


class Objective:
    """Adds up the losses of a job.

    Reference: Khani et al., RecSys '24. The soft loss is added to the hard loss; soft labels are never mixed
    into hard labels. A row without a soft label has only the hard loss, like the control's rows.

    Args:
        job: defines the tasks, their weights and their distillation.
    """

    def __init__(self, job: TrainingJob) -> None:
        names = list(job.tasks)
        self._is_binary = [task.kind == "binary" for task in job.tasks.values()]
        self._ziln_columns = [names.index(name) for name, task in job.tasks.items() if task.loss == "ziln"]
        # Column of each task's hard loss in [losses, zero-inflated losses], see `_hard_losses`.
        self._hard_columns = [
            len(names) + self._ziln_columns.index(column) if column in self._ziln_columns else column
            for column in range(len(names))
        ]
        self._hard_weights = [task.weight for task in job.tasks.values()]
        self._soft_is_binary = [job.tasks[name].kind == "binary" for name in job.distilled_tasks]
        self.soft_weights = tf.Variable(soft_weights(job), trainable=False, dtype=tf.float32)
        """`[distilled tasks]` float32; a variable, so that one traced graph serves several jobs."""
        self._temperatures = [job.distillation[name].temperature for name in job.distilled_tasks]
        # Column of each distilled task's logit in [hard logits, soft logits], see `__call__`.
        self._soft_columns = [
            len(names) + job.auxiliary_tasks.index(name) if name in job.auxiliary_tasks else names.index(name)
            for name in job.distilled_tasks
        ]

    def __call__(self, logits: RankerLogits, targets: Targets) -> Losses:
        """The losses of a batch; see `Losses`."""
        hard = mean_over_labels(self._hard_losses(logits, targets), targets.hard_where)
        total = tf.reduce_sum(hard * tf.constant(self._hard_weights, tf.float32))
        if not self._soft_columns:
            return Losses(total, hard, tf.zeros([0]))
        distilled = tf.gather(tf.concat([logits.hard, logits.soft], axis=1), self._soft_columns, axis=1)
        soft = mean_over_labels(self._soft_losses(distilled, targets), targets.soft_where)
        total += tf.reduce_sum(soft * self.soft_weights)
        return Losses(total, hard, soft)

    def _hard_losses(self, logits: RankerLogits, targets: Targets) -> Tensor:
        cross_entropy = binary_loss(logits.hard, targets.hard, targets.hard_where)
        squared_error = regression_loss(logits.hard, targets.hard, targets.hard_where)
        losses = tf.where(tf.constant([self._is_binary]), cross_entropy, squared_error)
        if not self._ziln_columns:
            return losses
        labels, where = (
            tf.gather(column, self._ziln_columns, axis=1) for column in (targets.hard, targets.hard_where)
        )
        zero_inflated = zero_inflated_loss(logits.ziln_parameters, labels, where)
        return tf.gather(tf.concat([losses, zero_inflated], axis=1), self._hard_columns, axis=1)

    def _soft_losses(self, logits: Tensor, targets: Targets) -> Tensor:
        cross_entropy = soft_binary_loss(logits, targets.soft, targets.soft_where, self._temperatures)
        squared_error = regression_loss(logits, targets.soft, targets.soft_where)
        return tf.where(tf.constant([self._soft_is_binary]), cross_entropy, squared_error)


def soft_weights(job: TrainingJob) -> list[float]:
    """Factors of the soft losses, in the order of `job.distilled_tasks`."""
    return [job.distillation[name].weight for name in job.distilled_tasks]
