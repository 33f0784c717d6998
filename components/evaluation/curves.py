"""ROC and calibration curves of a binary task, reduced to a few points for charts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

POINTS = 50
BINS = 10


def roc_curve(labels: Array, predictions: Array, points: int = POINTS) -> tuple[Array, Array, Array]:
    """Computes a ROC curve.

    Args:
        labels: `[rows]` 0 or 1, at least one row of each class.
        predictions: `[rows]` probabilities.
        points: Maximum number of points, evenly spaced in ranks; (0, 0) and (1, 1) are included.

    Returns:
        Thresholds, false positive rates and recalls, three `[<= points]` float64 arrays by descending
        threshold. Rows with equal predictions share a point.
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
    """Computes a calibration curve over bins with equal numbers of rows.

    Args:
        labels: `[rows]` 0 or 1.
        predictions: `[rows]` probabilities.
        bins: Maximum number of bins; empty bins are left out.

    Returns:
        Mean prediction and share of positives of each bin, two `[<= bins]` float64 arrays by ascending
        prediction.
    """
    order = np.argsort(predictions, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return (
        np.array([predictions[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
    )
