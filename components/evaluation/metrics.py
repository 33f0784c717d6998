"""Losses per row, and AUC; `bootstrap` computes figures and intervals from both.

The caller drops the rows without a label or without a prediction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PROBABILITY_FLOOR = 1e-7
"""Probabilities are clipped to [floor, 1 - floor], so that losses are finite. 1 - floor is below 1 also in
float32."""


class Ranking:
    """Computes the AUC for many weightings; sorts the rows only once, in the constructor.

    The weight of a row is the weight of its cluster.

    Args:
        labels: `[rows]` 0 or 1.
        scores: `[rows]` float, logits or probabilities; only their order matters.
        clusters: `[rows]` int, the index of the row's cluster.
    """

    def __init__(self, labels: npt.ArrayLike, scores: npt.ArrayLike, clusters: npt.NDArray[np.int64]) -> None:
        positive = np.asarray(labels) > 0.5
        values = np.asarray(scores)
        _require_one_length(labels=positive, scores=values, clusters=clusters)
        order = np.argsort(values, kind="stable")
        positives, negatives = order[positive[order]], order[~positive[order]]
        self._positive_clusters, self._negative_clusters = clusters[positives], clusters[negatives]
        # For each positive row: the number of negative rows with a lower score, and with a score not above.
        self._num_below = np.searchsorted(values[negatives], values[positives], side="left")
        self._num_not_above = np.searchsorted(values[negatives], values[positives], side="right")

    def auc(self, weights: npt.NDArray[np.float64]) -> Array:
        """Returns the probability that a positive row outranks a negative row; a tie counts one half.

        Args:
            weights: `[clusters, weightings]` float64 >= 0.

        Returns:
            `[weightings]` float64 in [0, 1], NaN where one of the classes has no weight.
        """
        positive_weights = weights[self._positive_clusters]
        negative_weight_up_to = np.zeros((self._negative_clusters.size + 1, weights.shape[1]))
        np.cumsum(weights[self._negative_clusters], axis=0, out=negative_weight_up_to[1:])
        outranked = negative_weight_up_to[self._num_below]
        outranked += negative_weight_up_to[self._num_not_above]
        won_pairs = np.einsum("ij,ij->j", positive_weights, outranked) / 2
        pairs = positive_weights.sum(axis=0) * negative_weight_up_to[-1]
        return np.divide(won_pairs, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def log_losses(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Array:
    """Returns `[rows]` float64 cross-entropies in nats, from `[rows]` labels in [0, 1] and probabilities."""
    target = np.asarray(labels, dtype=np.float64)
    clipped = np.clip(np.asarray(probabilities, np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    _require_one_length(labels=target, probabilities=clipped)
    losses: Array = -(target * np.log(clipped) + (1 - target) * np.log1p(-clipped))
    return losses


def squared_errors(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Array:
    """Returns `[rows]` float64 squared differences, from `[rows]` labels and predictions."""
    target, predicted = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    _require_one_length(labels=target, predictions=predicted)
    errors: Array = np.square(predicted - target)
    return errors


def _require_one_length(**arrays: npt.NDArray) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected one-dimensional arrays of one length, got shapes {shapes}.")
