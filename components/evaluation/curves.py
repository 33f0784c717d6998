"""ROC and calibration curves of a binary task, reduced to a few points for charts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MAX_POINTS = 50
MAX_BINS = 10


def roc_curve(labels: Array, predictions: Array, max_points: int = MAX_POINTS) -> tuple[Array, Array, Array]:
    """Computes a ROC curve.

    Args:
        labels: `[rows]` 0 or 1, at least one row of each class.
        predictions: `[rows]` probabilities.
        max_points: maximum number of points, >= 2. The points are evenly spaced among the sorted distinct
            predictions; (0, 0) and (1, 1) are included.

    Returns:
        Thresholds, false positive rates and recalls: three `[<= max_points]` float64 arrays by descending
        threshold. Rows with equal predictions share a point.
    """
    order = np.argsort(-predictions, kind="stable")
    positive, scores = labels[order] > 0.5, predictions[order]
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    true_positives, false_positives = (np.cumsum(rows)[last_of_equals] for rows in (positive, ~positive))
    thresholds = np.concatenate([[1.0], scores[last_of_equals]])
    recalls = np.concatenate([[0.0], true_positives / true_positives[-1]])
    false_positive_rates = np.concatenate([[0.0], false_positives / false_positives[-1]])
    num_points = min(max_points, thresholds.size)
    kept = np.unique(np.linspace(0, thresholds.size - 1, num_points).round().astype(int))
    return thresholds[kept], false_positive_rates[kept], recalls[kept]


def calibration_curve(labels: Array, predictions: Array, max_bins: int = MAX_BINS) -> tuple[Array, Array]:
    """Computes a calibration curve over bins with about equal numbers of rows.

    Args:
        labels: `[rows]` 0 or 1.
        predictions: `[rows]` probabilities.
        max_bins: maximum number of bins; empty bins are left out.

    Returns:
        Mean prediction and share of positives of each bin: two `[<= max_bins]` float64 arrays by ascending
        prediction.
    """
    order = np.argsort(predictions, kind="stable")
    bins = [rows for rows in np.array_split(order, max_bins) if rows.size]
    return (
        np.array([predictions[rows].mean() for rows in bins]),
        np.array([labels[rows].mean() for rows in bins]),
    )
