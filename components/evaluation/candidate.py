"""Verdict of the candidate check: whether a freshly trained model is not worse than its predecessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics import log_losses, squared_errors
from components.evaluation.scales import on_task_scale
from models.tasks import Task

MIN_LABELS = 50
"""Minimum number of labels (binary: of each class); the loss of a task with fewer is too uncertain."""


@dataclass(frozen=True)
class CandidateVerdict:
    """Outcome of the candidate check.

    Attributes:
        blessed: whether the candidate replaces its predecessor.
        reason: one line for people.
        candidate_loss: mean relative loss of the candidate over the tasks with enough labels; None without
            such a task.
        predecessor_loss: mean relative loss of the predecessor; also None without a predecessor.
        candidate_losses: task with enough labels -> relative loss of the candidate.
        predecessor_losses: task with enough labels -> relative loss of the predecessor.
    """

    blessed: bool
    reason: str
    candidate_loss: float | None
    predecessor_loss: float | None
    candidate_losses: Mapping[str, float]
    predecessor_losses: Mapping[str, float]


def candidate_verdict(
    labels: Mapping[str, npt.NDArray],
    candidate: Mapping[str, npt.NDArray],
    predecessor: Mapping[str, npt.NDArray] | None,
    tasks: Mapping[str, Task],
    margin: float,
) -> CandidateVerdict:
    """Judges a candidate on clusters that neither the candidate nor its predecessor has trained on.

    A task's relative loss is its log loss (regression: MSE) divided by the loss of the best constant
    prediction, so that tasks of different scales can be averaged. A model that predicts the base rate has
    relative loss 1.

    Args:
        labels: task -> `[rows]` float in the task's unit, NaN where masked.
        candidate: task -> `[rows]` float prediction on the task's scale.
        predecessor: predictions of the predecessor. None without a predecessor: then the candidate is blessed
            if its predictions are finite.
        tasks: the tasks to compare.
        margin: accepted excess of the candidate's mean relative loss over the predecessor's, as a share of
            it.
    """
    not_finite = [task for task in tasks if not np.isfinite(candidate[task]).all()]
    if not_finite:
        return CandidateVerdict(
            False, f"predictions of {', '.join(not_finite)} are not finite", None, None, {}, {}
        )
    losses = _relative_losses(labels, candidate, tasks)
    mean = _mean(losses)
    if predecessor is None:
        reason = "all predictions are finite, and there is no predecessor"
        return CandidateVerdict(True, reason, mean, None, losses, {})
    old_losses = _relative_losses(labels, predecessor, tasks)
    old_mean = _mean(old_losses)
    if mean is None or old_mean is None:
        reason = (
            f"all predictions are finite, but no task has {MIN_LABELS} labels "
            f"(binary: {MIN_LABELS} of each class), so losses are not compared"
        )
        return CandidateVerdict(True, reason, mean, old_mean, losses, old_losses)
    limit = old_mean * (1 + margin)
    blessed = mean <= limit
    reason = (
        f"relative loss {mean:.4f}, predecessor {old_mean:.4f}: "
        f"{'not worse' if blessed else 'worse'} than the limit {limit:.4f} (margin {margin:g})"
    )
    return CandidateVerdict(blessed, reason, mean, old_mean, losses, old_losses)


def _relative_losses(
    labels: Mapping[str, npt.NDArray],
    predictions: Mapping[str, npt.NDArray],
    tasks: Mapping[str, Task],
) -> dict[str, float]:
    losses = {}
    for name, task in tasks.items():
        target = on_task_scale(labels[name], task)
        where = ~np.isnan(target)
        target, predicted = target[where], np.asarray(predictions[name], np.float64)[where]
        if _has_enough(target, task):
            per_row = log_losses if task.kind == "binary" else squared_errors
            constant = np.full(target.shape, target.mean())
            losses[name] = float(per_row(target, predicted).mean() / per_row(target, constant).mean())
    return losses


def _has_enough(target: npt.NDArray[np.float64], task: Task) -> bool:
    if task.kind == "binary":
        positives = int(np.sum(target > 0.5))
        return min(positives, target.size - positives) >= MIN_LABELS
    return target.size >= MIN_LABELS and float(np.var(target)) > 0


def _mean(losses: Mapping[str, float]) -> float | None:
    return float(np.mean(list(losses.values()))) if losses else None
