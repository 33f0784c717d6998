"""Model selection criterion: mean relative information gain over the base rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation import metrics
from models.tasks import Task

Array = Any


def information_gain(labels: Array, predictions: Array, task: Task) -> float:
    """Relative information gain over the base rate; for a regression task, the share of variance explained.

    Args:
        labels: `[rows]` float on the task's scale, without NaN, with at least two different values.
        predictions: `[rows]` float, probabilities or expected values on the task's scale.
        task: the task of the labels.

    Returns:
        1 for perfect predictions, 0 for predictions that equal the base rate, negative for worse predictions;
        -inf if a prediction is not finite.

    Reference: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD '14, section 2:
    1 minus the normalized entropy.
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
        tasks: the tasks by name, in the order of the columns.
        min_labels: a binary task needs this many positives and this many negatives, a regression task this
            many labels. Other tasks, and tasks whose labels are all equal, are left out.

    Returns:
        The information gain by name of the task.
    """
    gain_by_task = {}
    for column, (name, task) in enumerate(tasks.items()):
        where = ~np.isnan(labels[:, column])
        task_labels = labels[where, column]
        positives = (task_labels > 0.5).sum()
        count = min(positives, where.sum() - positives) if task.kind == "binary" else where.sum()
        if count >= min_labels and task_labels.min() < task_labels.max():
            gain_by_task[name] = information_gain(task_labels, predictions[where, column], task)
    return gain_by_task


def criterion(gain_by_task: Mapping[str, float]) -> float:
    """Mean information gain over the tasks; -inf if no task has enough labels."""
    return float(np.mean(list(gain_by_task.values()))) if gain_by_task else -np.inf
