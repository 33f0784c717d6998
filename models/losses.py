"""Losses per example and task, on logits, with masks; `models.objective` adds them up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

Tensor = Any

_MIN_PROBABILITY = 1e-6
"""Minimum distance of clipped probabilities from 0 and 1, which have no finite logit."""
_MIN_LOG_DEVIATION = math.log(0.1)
"""Lower bound of the logarithm of the standard deviation in `zero_inflated_loss`."""
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def binary_loss(logits: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """Cross-entropy of logits against hard labels.

    Args:
        logits: `[batch, tasks]` float.
        labels: `[batch, tasks]` float, 0 or 1; any value, also NaN, where masked.
        where: `[batch, tasks]` bool, False where there is no label.

    Returns:
        `[batch, tasks]` float32 in nats, exactly 0 and without gradient where `where` is False.

    Raises:
        ValueError: if the shapes differ; broadcasting would pair an example with its neighbour's label
            and still train.
    """
    logits, labels = _mask_inputs(logits, labels, where)
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.where(where, loss, 0.0)


def regression_loss(predictions: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """Squared error of expected values against hard or soft labels, all on the task's scale.

    Args:
        predictions: `[batch, tasks]` float.
        labels: `[batch, tasks]` float; any value, also NaN, where masked.
        where: `[batch, tasks]` bool, False where there is no label.

    Returns:
        `[batch, tasks]` float32, exactly 0 and without gradient where `where` is False.

    Raises:
        ValueError: if the shapes differ.
    """
    predictions, labels = _mask_inputs(predictions, labels, where)
    return tf.where(where, tf.math.squared_difference(predictions, labels), 0.0)


def zero_inflated_loss(parameters: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """Negative log-likelihood of labels that are either 0 or normally distributed on the task's scale.

    With scale log1p, it is close but not equal to the zero-inflated lognormal (ZILN) loss of the amount, the
    label before log1p.

    Args:
        parameters: `[batch, tasks, 3]` float: logit of the probability of a label above 0, then mean and
            logarithm of the standard deviation of the labels above 0.
        labels: `[batch, tasks]` float, >= 0 on the task's scale; any value, also NaN, where masked.
        where: `[batch, tasks]` bool, False where there is no label.

    Returns:
        `[batch, tasks]` float32 in nats, exactly 0 and without gradient where `where` is False.

    Raises:
        ValueError: if the shapes differ.

    Reference: Wang et al., "A Deep Probabilistic Model for Customer Lifetime Value Prediction", arXiv
    1912.07753, section 3. Differs: labels are normal on the task's scale, not lognormal in the amount's
    unit. The standard deviation has a lower bound. Without it, a repeated amount has an unbounded likelihood.
    """
    positive_logits, labels = _mask_inputs(parameters[:, :, 0], labels, where)
    mean, log_deviation = (
        tf.where(where, tf.cast(parameters[:, :, index], tf.float32), 0.0) for index in (1, 2)
    )
    positive = labels > 0
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(positive, tf.float32), logits=positive_logits
    )
    log_deviation = tf.maximum(log_deviation, _MIN_LOG_DEVIATION)
    z_score = tf.where(positive, labels - mean, 0.0) * tf.exp(-log_deviation)
    negative_log_density = tf.where(positive, z_score**2 / 2 + log_deviation + _HALF_LOG_TWO_PI, 0.0)
    return tf.where(where, cross_entropy + negative_log_density, 0.0)


def ziln_expectation(parameters: Tensor) -> Tensor:
    """`[..., 1]` expectation on the task's scale, from `[..., 3]` parameters; see `zero_inflated_loss`."""
    return tf.sigmoid(parameters[..., :1]) * parameters[..., 1:2]


def soft_binary_loss(
    logits: Tensor, soft_labels: Tensor, where: Tensor, temperatures: Sequence[float]
) -> Tensor:
    """Cross-entropy of a student's logits against the teacher's probabilities, both softened by temperature.

    The loss is multiplied by temperature², so that gradients have comparable sizes at all temperatures.

    Args:
        logits: `[batch, tasks]` float, of the soft head; in direct distillation, of the hard head.
        soft_labels: `[batch, tasks]` float in [0, 1]; any value, also NaN, where masked.
        where: `[batch, tasks]` bool, False where there is no soft label.
        temperatures: `[tasks]`, > 0.

    Returns:
        `[batch, tasks]` float32 in nats, exactly 0 and without gradient where `where` is False.

    Raises:
        ValueError: if the shapes differ.

    Reference: Khani et al., RecSys '24; factor temperature²: Hinton et al., arXiv 1503.02531, section 2.
    """
    logits, soft_labels = _mask_inputs(logits, soft_labels, where)
    temperature = tf.constant(temperatures, tf.float32, shape=(1, logits.shape[1]))
    loss = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=_softened(soft_labels, temperature), logits=logits / temperature
    )
    return tf.where(where, loss * temperature**2, 0.0)


def mean_over_labels(losses: Tensor, where: Tensor) -> Tensor:
    """Mean loss of each task over its labelled rows on all replicas.

    Args:
        losses: `[batch, tasks]` float32, 0 where masked.
        where: `[batch, tasks]` bool.

    Returns:
        `[tasks]` float32, 0 for a task without labels. With several replicas, the value is this replica's
        share: the shares add up to the mean, and so do their gradients.
    """
    num_labels = tf.reduce_sum(tf.cast(where, tf.float32), axis=0)
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        num_labels = replica.all_reduce(tf.distribute.ReduceOp.SUM, num_labels)
    return tf.math.divide_no_nan(tf.reduce_sum(losses, axis=0), num_labels)


def _softened(probabilities: Tensor, temperature: Tensor) -> Tensor:
    clipped = tf.clip_by_value(probabilities, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    teacher_logits = tf.math.log(clipped) - tf.math.log1p(-clipped)
    return tf.where(temperature == 1.0, probabilities, tf.sigmoid(teacher_logits / temperature))


def _mask_inputs(predictions: Tensor, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and labels as float32, 0 where masked.

    Masking only the loss is not enough: a NaN in a masked label would still make the gradient NaN.
    """
    shapes = [tuple(tensor.shape) for tensor in (predictions, labels, where)]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"predictions, labels and where must have one shape [batch, tasks], got {shapes[0]}, {shapes[1]} "
            f"and {shapes[2]}. Stack the tasks in columns."
        )
    predictions, labels = tf.cast(predictions, tf.float32), tf.cast(labels, tf.float32)
    return tf.where(where, predictions, 0.0), tf.where(where, labels, 0.0)
