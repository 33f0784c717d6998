"""The one number by which everything is chosen: how much of what could be known a model knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation import metrics
from models.tasks import Task

Array = Any


def information_gain(labels: Array, predictions: Array, task: Task) -> float:
    """Relative information gain over the base rate, or for a regression the share of variance explained.

    Args:
        labels: `[rows]` float on the task's scale, without NaN.
        predictions: `[rows]` float, probabilities or expected values.
        task: whose.

    Returns:
        1 knows all, 0 the mean alone, below 0 less than that; -inf where a prediction is not finite.

    Reference: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD '14, section 2
    (normalized entropy, of which this is 1 less).
    """
    if not np.isfinite(predictions).all():
        return -np.inf
    mean = float(np.mean(labels, dtype=np.float64))
    if task.kind == "binary":
        entropy = float(metrics.log_losses(labels, np.full(len(labels), mean)).mean())
        return 1 - float(metrics.log_losses(labels, predictions).mean()) / entropy
    spread = float(np.square(labels - mean, dtype=np.float64).mean())
    return 1 - float(metrics.squared_errors(labels, predictions).mean()) / spread


def gains(
    labels: Array, predictions: Array, tasks: Mapping[str, Task], min_positives: int
) -> dict[str, float]:
    """The gain of each task that says something.

    Args:
        labels: `[rows, tasks]` float32, NaN where masked or not known yet.
        predictions: `[rows, tasks]` float32.
        tasks: the columns.
        min_positives: a binary task with fewer positives or negatives says nothing, nor does a regression
            with fewer labels.
    """
    found = {}
    for column, (name, task) in enumerate(tasks.items()):
        known = ~np.isnan(labels[:, column])
        own = labels[known, column]
        counted = min((own > 0.5).sum(), (own <= 0.5).sum()) if task.kind == "binary" else known.sum()
        if counted >= min_positives:
            found[name] = information_gain(own, predictions[known, column], task)
    return found


def criterion(found: Mapping[str, float]) -> float:
    """The mean over tasks."""
    return float(np.mean(list(found.values()))) if found else -np.inf
