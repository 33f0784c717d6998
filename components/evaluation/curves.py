"""ROC and calibration curves of a binary task, reduced to a few points for drawing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

POINTS = 50
BINS = 10


def roc_curve(labels: Array, predictions: Array, points: int = POINTS) -> tuple[Array, Array, Array]:
    """Thresholds, false positive rates and recalls, by descending threshold.

    Args:
        labels: `[rows]` 0 or 1, at least one of each.
        predictions: `[rows]` probabilities.
        points: Maximum number of points, evenly spaced in ranks, both ends (0, 0) and (1, 1) included.

    Returns:
        Three `[<= points]` float64 arrays; rows with equal predictions make one step.
    """
    order = np.argsort(-predictions, kind="stable")
    positive, scores = labels[order] > 0.5, predictions[order]
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    true_positives, false_positives = (np.cumsum(hits)[last_of_equals] for hits in (positive, ~positive))
    thresholds = np.concatenate([[1.0], scores[last_of_equals]])
    recalls = np.concatenate([[0.0], true_positives / true_positives[-1]])
    rates = np.concatenate([[0.0], false_positives / false_positives[-1]])
    drawn = np.unique(np.linspace(0, thresholds.size - 1, min(points, thresholds.size)).round().astype(int))
    return thresholds[drawn], rates[drawn], recalls[drawn]


def calibration_curve(labels: Array, predictions: Array, bins: int = BINS) -> tuple[Array, Array]:
    """Mean prediction and share of positives in bins with equal numbers of rows.

    Args:
        labels: `[rows]` 0 or 1.
        predictions: `[rows]` probabilities.
        bins: Number of bins; never more than rows.

    Returns:
        Two `[bins]` float64 arrays, predictions ascending.
    """
    order = np.argsort(predictions, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return (
        np.array([predictions[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
    )
