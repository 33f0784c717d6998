"""Model selection criterion: mean relative information gain over the base rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation import metrics
from models.tasks import Task

Array = Any


def information_gain(labels: Array, predictions: Array, task: Task) -> float:
    """Relative information gain over the base rate; for a regression, the share of variance explained.

    Args:
        labels: `[rows]` float on the task's scale, without NaN.
        predictions: `[rows]` float, probabilities or expected values.
        task: the task whose labels these are.

    Returns:
        1 for perfect predictions, 0 for the base rate, negative if worse than the base rate; -inf if a
        prediction is not finite.

    Reference: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD '14, section 2:
    1 minus their normalized entropy.
    """
    if not np.isfinite(predictions).all():
        return -np.inf
    mean = float(np.mean(labels, dtype=np.float64))
    if task.kind == "binary":
        entropy = float(metrics.log_losses(labels, np.full(len(labels), mean)).mean())
        return 1 - float(metrics.log_losses(labels, predictions).mean()) / entropy
    variance = float(np.square(labels - mean, dtype=np.float64).mean())
    return 1 - float(metrics.squared_errors(labels, predictions).mean()) / variance


def gains(labels: Array, predictions: Array, tasks: Mapping[str, Task], min_labels: int) -> dict[str, float]:
    """Information gain of each task that has enough labels.

    Args:
        labels: `[rows, tasks]` float32, NaN where masked or not known yet.
        predictions: `[rows, tasks]` float32.
        tasks: one per column, in order.
        min_labels: a binary task needs this many positives and as many negatives, a regression this many
            labels; other tasks are left out.
    """
    gain_by_task = {}
    for column, (name, task) in enumerate(tasks.items()):
        where = ~np.isnan(labels[:, column])
        task_labels = labels[where, column]
        positives = (task_labels > 0.5).sum()
        count = min(positives, where.sum() - positives) if task.kind == "binary" else where.sum()
        if count >= min_labels:
            gain_by_task[name] = information_gain(task_labels, predictions[where, column], task)
    return gain_by_task


def criterion(gain_by_task: Mapping[str, float]) -> float:
    """Mean information gain over the tasks; -inf if no task has enough labels."""
    return float(np.mean(list(gain_by_task.values()))) if gain_by_task else -np.inf
