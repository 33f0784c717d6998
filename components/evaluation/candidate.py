"""The candidate check: may a freshly trained model take its predecessor's place?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics import log_losses, squared_errors
from components.evaluation.scales import on_task_scale
from models.tasks import Task

MIN_LABELS = 50
"""Tasks with fewer labels (binary: fewer rows of the rarer class) do not vote: their loss is noise."""


@dataclass(frozen=True)
class Verdict:
    """What the candidate check decided.

    Attributes:
        blessed: whether the candidate takes its predecessor's place.
        reason: one line for people.
        candidate_loss: mean over the voting tasks of the relative loss; None when no task votes.
        predecessor_loss: the same of the predecessor; None without one.
        candidate_losses: voting task -> the candidate's relative loss.
        predecessor_losses: voting task -> the predecessor's relative loss.
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
    *,
    min_labels: int = MIN_LABELS,
) -> Verdict:
    """Judges a candidate on clusters that neither it nor its predecessor was ever trained on.

    A task's relative loss is its log loss (MSE) over that of the best constant prediction, so that tasks of
    unlike scales can be averaged: 1 is a model that has learnt nothing.

    Args:
        labels: task -> `[rows]` float in the task's unit, NaN where masked.
        candidate: task -> `[rows]` float prediction on the task's scale.
        predecessor: the same of the model to be replaced; None when there is none, and then being finite
            is enough.
        tasks: the tasks to judge.
        margin: how much the candidate's mean relative loss may exceed the predecessor's, as a share of it.
        min_labels: see `MIN_LABELS`.
    """
    broken = [task for task in tasks if not np.isfinite(candidate[task]).all()]
    if broken:
        return Verdict(False, f"predictions of {', '.join(broken)} are not finite", None, None, {}, {})
    losses = _relative_losses(labels, candidate, tasks, min_labels)
    mean = _mean(losses)
    if predecessor is None:
        return Verdict(True, "finite, and there is no predecessor", mean, None, losses, {})
    old_losses = _relative_losses(labels, predecessor, tasks, min_labels)
    old_mean = _mean(old_losses)
    if mean is None or old_mean is None:
        reason = f"finite, and no task has {min_labels} labels to compare losses on"
        return Verdict(True, reason, mean, old_mean, losses, old_losses)
    limit = old_mean * (1 + margin)
    blessed = mean <= limit
    sides = f"relative loss {mean:.4f}, predecessor {old_mean:.4f}"
    reason = (
        f"{sides}: {'not worse than' if blessed else 'worse than'} the limit {limit:.4f} (margin {margin:g})"
    )
    return Verdict(blessed, reason, mean, old_mean, losses, old_losses)


def _relative_losses(
    labels: Mapping[str, npt.NDArray],
    predictions: Mapping[str, npt.NDArray],
    tasks: Mapping[str, Task],
    min_labels: int,
) -> dict[str, float]:
    losses = {}
    for name, task in tasks.items():
        target = on_task_scale(labels[name], task)
        where = ~np.isnan(target)
        target, predicted = target[where], np.asarray(predictions[name], np.float64)[where]
        if _has_enough(target, task, min_labels):
            per_row = log_losses if task.kind == "binary" else squared_errors
            constant = np.full(target.shape, target.mean())
            losses[name] = float(per_row(target, predicted).mean() / per_row(target, constant).mean())
    return losses


def _has_enough(target: npt.NDArray[np.float64], task: Task, min_labels: int) -> bool:
    if task.kind == "binary":
        positives = int(np.sum(target > 0.5))
        return min(positives, target.size - positives) >= max(min_labels, 1)
    return target.size >= max(min_labels, 1) and float(np.var(target)) > 0


def _mean(losses: Mapping[str, float]) -> float | None:
    return float(np.mean(list(losses.values()))) if losses else None
