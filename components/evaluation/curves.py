"""ROC and calibration curves of a binary task, thinned to a few points that can be drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

POINTS = 50
BINS = 10


def roc_curve(labels: Array, predictions: Array, points: int = POINTS) -> tuple[Array, Array, Array]:
    """Thresholds, false positive rates and recalls, as thresholds fall.

    Args:
        labels: `[rows]` 0 or 1, of both at least one.
        predictions: `[rows]` probabilities.
        points: At most so many, evenly spaced in ranks, the ends (0, 0) and (1, 1) among them.

    Returns:
        Three `[<= points]` float64 arrays; rows of equal prediction make one step.
    """
    order = np.argsort(-predictions, kind="stable")
    positive, scores = labels[order] > 0.5, predictions[order]
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    hits, alarms = np.cumsum(positive)[last_of_equals], np.cumsum(~positive)[last_of_equals]
    thresholds = np.concatenate([[1.0], scores[last_of_equals]])
    recall = np.concatenate([[0.0], hits / hits[-1]])
    false_positives = np.concatenate([[0.0], alarms / alarms[-1]])
    kept = np.unique(np.linspace(0, thresholds.size - 1, min(points, thresholds.size)).round().astype(int))
    return thresholds[kept], false_positives[kept], recall[kept]


def calibration_curve(labels: Array, predictions: Array, bins: int = BINS) -> tuple[Array, Array]:
    """Mean prediction and share of positives in bins of equally many rows.

    Args:
        labels: `[rows]` 0 or 1.
        predictions: `[rows]` probabilities.
        bins: How many, or as many as there are rows.

    Returns:
        Two `[bins]` float64 arrays, predictions ascending.
    """
    order = np.argsort(predictions, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return (
        np.array([predictions[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
    )
