"""The candidate check's verdict: is a freshly trained model not worse than its predecessor?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics import log_losses, squared_errors
from components.evaluation.scales import on_task_scale
from models.tasks import Task

MIN_LABELS = 50
"""Tasks with fewer labels (binary: fewer rows of the rarer class) do not count: too uncertain."""


@dataclass(frozen=True)
class CandidateVerdict:
    """Outcome of the candidate check.

    Attributes:
        blessed: whether the candidate replaces its predecessor.
        reason: one line for people.
        candidate_loss: mean relative loss of the candidate over tasks with enough labels; None without any.
        predecessor_loss: the predecessor's; None without a predecessor.
        candidate_losses: task with enough labels -> the candidate's relative loss.
        predecessor_losses: task with enough labels -> the predecessor's relative loss.
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
    """The verdict on a candidate, on clusters that neither it nor its predecessor has trained on.

    A task's relative loss is its log loss (regression: MSE) over that of the best constant prediction, so
    that tasks of different scales can be averaged. A model that predicts the base rate has 1.

    Args:
        labels: task -> `[rows]` float in the task's unit, NaN where masked.
        candidate: task -> `[rows]` float prediction on the task's scale.
        predecessor: the predecessor's predictions; None without one, and then finite predictions suffice.
        tasks: the tasks to compare.
        margin: accepted excess of the candidate's mean relative loss, as a share of the predecessor's.
    """
    not_finite = [task for task in tasks if not np.isfinite(candidate[task]).all()]
    if not_finite:
        return CandidateVerdict(
            False, f"predictions of {', '.join(not_finite)} are not finite", None, None, {}, {}
        )
    losses = _relative_losses(labels, candidate, tasks)
    mean = _mean(losses)
    if predecessor is None:
        return CandidateVerdict(True, "finite, and there is no predecessor", mean, None, losses, {})
    old_losses = _relative_losses(labels, predecessor, tasks)
    old_mean = _mean(old_losses)
    if mean is None or old_mean is None:
        reason = f"finite, and no task has {MIN_LABELS} labels to compare losses on"
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
