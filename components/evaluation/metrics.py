"""Weighted metrics on arrays, each a number or None where it is undefined, never NaN.

Masked rows (no label, no prediction) are the caller's to drop. The per-row losses and `Ranking` are what
`bootstrap` resamples, so that a figure and its interval have one definition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PROBABILITY_FLOOR = 1e-7
"""Probabilities are clipped to [floor, 1 - floor]: float32 holds no smaller distance from 1."""


class Ranking:
    """The labels and scores of one set of rows, sorted once so that many weightings have a cheap AUC.

    The weight of a row is the weight of its unit: of itself, or of the cluster it belongs to.

    Args:
        labels: `[rows]` 0 or 1.
        scores: `[rows]` float, higher means more likely; any monotone scale.
        unit_of_row: `[rows]` int, the row's index into the weights; by default each row is its own.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike,
        unit_of_row: npt.NDArray[np.int64] | None = None,
    ) -> None:
        positive = np.asarray(labels) > 0.5
        values = np.asarray(scores)
        _refuse_other_shapes(labels=positive, scores=values)
        units = np.arange(values.size) if unit_of_row is None else unit_of_row
        order = np.argsort(values, kind="stable")
        positives, negatives = order[positive[order]], order[~positive[order]]
        self._positive_units, self._negative_units = units[positives], units[negatives]
        self._below = np.searchsorted(values[negatives], values[positives], side="left")
        self._not_above = np.searchsorted(values[negatives], values[positives], side="right")

    def auc(self, weights: npt.NDArray[np.float64]) -> Array:
        """Probability that a positive row outranks a negative one, ties counting one half.

        Args:
            weights: `[units, weightings]` float64 >= 0.

        Returns:
            `[weightings]` float64 in [0, 1], NaN where a class has no weight.
        """
        positive = weights[self._positive_units]
        negatives_up_to = np.zeros((self._negative_units.size + 1, weights.shape[1]))
        np.cumsum(weights[self._negative_units], axis=0, out=negatives_up_to[1:])
        outranked = negatives_up_to[self._below]
        outranked += negatives_up_to[self._not_above]
        won = np.einsum("ij,ij->j", positive, outranked) / 2
        pairs = positive.sum(axis=0) * negatives_up_to[-1]
        return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def log_losses(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Array:
    """`[rows]` float64 cross-entropy in nats of `[rows]` labels in [0, 1] and probabilities."""
    target = np.asarray(labels, dtype=np.float64)
    clipped = np.clip(np.asarray(probabilities, np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    _refuse_other_shapes(labels=target, probabilities=clipped)
    losses: Array = -(target * np.log(clipped) + (1 - target) * np.log1p(-clipped))
    return losses


def squared_errors(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Array:
    """`[rows]` float64 squared differences of `[rows]` labels and predictions, in the unit squared."""
    target, predicted = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    _refuse_other_shapes(labels=target, predictions=predicted)
    errors: Array = np.square(predicted - target)
    return errors


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float | None:
    """Area under the ROC curve with midranks: a tie of a positive and a negative counts one half.

    Args:
        labels: `[rows]` 0 or 1.
        scores: `[rows]` float.
        weights: `[rows]` float >= 0, by default 1.

    Returns:
        A float in [0, 1], or None when a class has no weight.
    """
    weight = _weights(labels, weights)
    return _number(Ranking(labels, scores).auc(weight[:, None])[0])


def log_loss(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float | None:
    """Weighted mean cross-entropy in nats; None without rows (of positive weight).

    Args:
        labels: `[rows]` float in [0, 1].
        probabilities: `[rows]` float in [0, 1], clipped away from both ends.
        weights: `[rows]` float >= 0, by default 1.
    """
    return _mean(log_losses(labels, probabilities), _weights(labels, weights))


def rmse(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float | None:
    """Root of the weighted mean squared error, in the labels' unit; None without rows.

    Args:
        labels: `[rows]` float.
        predictions: `[rows]` float.
        weights: `[rows]` float >= 0, by default 1.
    """
    mean = _mean(squared_errors(labels, predictions), _weights(labels, weights))
    return None if mean is None else float(np.sqrt(mean))


def calibration(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float | None:
    """Mean prediction over mean label: 1 is unbiased, above 1 promises too much.

    Args:
        labels: `[rows]` float.
        predictions: `[rows]` float on the labels' scale.
        weights: `[rows]` float >= 0, by default 1.

    Returns:
        A float, or None without rows or when the labels' mean is 0.
    """
    weight = _weights(labels, weights)
    target, predicted = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    _refuse_other_shapes(labels=target, predictions=predicted)
    total = float(target @ weight)
    return None if total == 0 else _number(float(predicted @ weight) / total)


def _mean(values: Array, weights: Array) -> float | None:
    total = float(weights.sum())
    return None if total == 0 else _number(float(values @ weights) / total)


def _weights(labels: npt.ArrayLike, weights: npt.ArrayLike | None) -> Array:
    shape = np.shape(labels)
    given = np.ones(shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != shape:
        raise ValueError(f"weights must have the labels' shape {shape}, got {given.shape}.")
    return given


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _refuse_other_shapes(**arrays: npt.NDArray) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected arrays [rows] of one length, got shapes {shapes}.")
