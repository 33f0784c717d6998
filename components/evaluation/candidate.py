"""Verdict of the candidate check: compares a freshly trained model with its predecessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics import log_losses, squared_errors
from components.evaluation.scales import on_task_scale
from models.tasks import Task

MIN_LABELS = 50
"""Minimum number of labels of a task (binary: of each class). With fewer, its loss is too uncertain."""


@dataclass(frozen=True)
class CandidateVerdict:
    """Outcome of the candidate check.

    Attributes:
        blessed: whether the candidate replaces its predecessor.
        reason: reason for the verdict, one line of text.
        candidate_loss: mean of `candidate_losses`; None if `candidate_losses` is empty.
        predecessor_loss: mean of `predecessor_losses`; None if `predecessor_losses` is empty.
        candidate_losses: task with enough labels -> relative loss of the candidate, see `candidate_verdict`.
            Empty if the candidate was discarded without a comparison.
        predecessor_losses: task with enough labels -> relative loss of the predecessor. Also empty if there
            is no predecessor, or if one of its predictions is not finite.
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
        predecessor: the same for the predecessor. None if there is no predecessor; then the candidate is
            blessed if its predictions are finite.
        tasks: name -> task to compare.
        margin: the candidate is discarded if its mean relative loss exceeds (1 + `margin`) times the
            predecessor's.
    """
    not_finite = [task for task in tasks if not np.isfinite(candidate[task]).all()]
    if not_finite:
        return CandidateVerdict(
            False, f"predictions of {', '.join(not_finite)} are not finite", None, None, {}, {}
        )
    candidate_losses = _relative_losses(labels, candidate, tasks)
    candidate_loss = _mean(candidate_losses)
    if predecessor is None:
        reason = "all predictions are finite, and there is no predecessor"
        return CandidateVerdict(True, reason, candidate_loss, None, candidate_losses, {})
    # A predecessor with finite predictions on its own span may overflow on this one. Then the candidate is
    # better.
    if not all(np.isfinite(predecessor[task]).all() for task in tasks):
        reason = "all predictions are finite, unlike those of the predecessor"
        return CandidateVerdict(True, reason, candidate_loss, None, candidate_losses, {})
    predecessor_losses = _relative_losses(labels, predecessor, tasks)
    predecessor_loss = _mean(predecessor_losses)
    losses = (candidate_loss, predecessor_loss, candidate_losses, predecessor_losses)
    if candidate_loss is None or predecessor_loss is None:
        reason = (
            f"all predictions are finite, but no task has {MIN_LABELS} labels "
            f"(binary: {MIN_LABELS} of each class; regression: not all equal), so losses are not compared"
        )
        return CandidateVerdict(True, reason, *losses)
    limit = predecessor_loss * (1 + margin)
    blessed = candidate_loss <= limit
    reason = (
        f"relative loss {candidate_loss:.4f}, predecessor {predecessor_loss:.4f}: "
        f"{'not worse' if blessed else 'worse'} than the limit {limit:.4f} (margin {margin:g})"
    )
    return CandidateVerdict(blessed, reason, *losses)


def _relative_losses(
    labels: Mapping[str, npt.NDArray],
    predictions: Mapping[str, npt.NDArray],
    tasks: Mapping[str, Task],
) -> dict[str, float]:
    """Returns task -> relative loss, for the tasks with enough labels."""
    losses = {}
    for name, task in tasks.items():
        task_labels = on_task_scale(labels[name], task)
        where = ~np.isnan(task_labels)
        known, predicted = task_labels[where], np.asarray(predictions[name], np.float64)[where]
        if _has_enough_labels(known, task):
            row_losses = log_losses if task.kind == "binary" else squared_errors
            constant = np.full(known.shape, known.mean())
            losses[name] = float(row_losses(known, predicted).mean() / row_losses(known, constant).mean())
    return losses


def _has_enough_labels(labels: npt.NDArray[np.float64], task: Task) -> bool:
    if task.kind == "binary":
        positives = int(np.sum(labels > 0.5))
        return min(positives, labels.size - positives) >= MIN_LABELS
    return labels.size >= MIN_LABELS and float(np.var(labels)) > 0


def _mean(losses: Mapping[str, float]) -> float | None:
    return float(np.mean(list(losses.values()))) if losses else None
