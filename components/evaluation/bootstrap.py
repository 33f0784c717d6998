"""Figures (metric values) of a model over several spans, with bootstrap intervals.

The bootstrap draws clusters (users) with replacement. Rows of one user depend on each other, so intervals
from resampled rows would be too narrow. In a resample, the weight of a cluster is the number of its draws.
The weights depend only on the seed and the number of clusters, so two models with the same clusters get the
same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation import metrics

Array = npt.NDArray[np.float64]

METRICS = {"binary": ("auc", "log_loss", "calibration"), "regression": ("rmse", "calibration")}
"""Kind of task -> its metrics in display order. The push gate compares the first metric."""

CONFIDENCE = 0.95
"""Share of the resamples inside an interval."""
RESAMPLES_PER_CHUNK = 32
"""Limits memory: a chunk needs a few float64 arrays `[rows of the largest span, RESAMPLES_PER_CHUNK]`."""


@dataclass(frozen=True)
class SpanRows:
    """The rows of one span that have a label and a prediction for one task.

    Attributes:
        labels: `[rows]` float.
        clusters: `[rows]` int64, index of the row's cluster among the clusters of all spans.
        predictions: `[rows]` float on the scale of `labels`.
    """

    labels: npt.NDArray
    clusters: npt.NDArray[np.int64]
    predictions: npt.NDArray


class SpanFigures:
    """Computes the figures of one model and task over several spans, for any weights of the clusters.

    AUC is the mean of the spans' AUCs, weighted by rows. So a drift of the base rate between spans does not
    change the AUC. Spans with only one class are skipped. All other figures are computed on the rows of all
    spans. `calibration` is the mean prediction divided by the mean label.

    Args:
        kind: `binary` or `regression`.
        spans: the rows of each span.
        num_clusters: number of distinct clusters of all spans.
    """

    def __init__(self, kind: str, spans: Sequence[SpanRows], num_clusters: int) -> None:
        self._kind = kind
        self._rankings = [
            (
                metrics.Ranking(rows.labels, rows.predictions, rows.clusters),
                _sum_by_cluster(rows.clusters, num_clusters),
            )
            for rows in spans
            if kind == "binary"
        ]
        row_losses = metrics.log_losses if kind == "binary" else metrics.squared_errors
        # Sums per cluster of rows, losses, predictions and labels. One matrix product weights all four sums.
        self._totals = np.zeros((4, num_clusters))
        for rows in spans:
            losses = row_losses(rows.labels, rows.predictions)
            for index, values in enumerate((None, losses, rows.predictions, rows.labels)):
                self._totals[index] += _sum_by_cluster(rows.clusters, num_clusters, values)

    def compute_weighted(self, weights: Array) -> dict[str, Array]:
        """Computes the figures for given weights of the clusters.

        Args:
            weights: `[clusters, weightings]` float64 >= 0; each column is one weighting.

        Returns:
            metric -> `[weightings]` float64, NaN where the metric is undefined.
        """
        rows, losses, predictions, labels = self._totals @ weights
        mean_loss, calibration = _divide(losses, rows), _divide(predictions, labels)
        if self._kind == "regression":
            return {"rmse": np.sqrt(mean_loss), "calibration": calibration}
        return {"auc": self._mean_auc(weights), "log_loss": mean_loss, "calibration": calibration}

    def _mean_auc(self, weights: Array) -> Array:
        auc_sum, row_sum = np.zeros((2, weights.shape[1]))
        for ranking, rows_of_cluster in self._rankings:
            span_auc, span_rows = ranking.auc(weights), rows_of_cluster @ weights
            defined = np.isfinite(span_auc)
            auc_sum += np.where(defined, span_auc, 0) * span_rows
            row_sum += np.where(defined, span_rows, 0)
        return _divide(auc_sum, row_sum)

    def compute_unweighted(self) -> dict[str, float]:
        """Computes the figures with weight 1 for all clusters: metric -> float, NaN where undefined."""
        weights = np.ones((self._totals.shape[1], 1))
        return {metric: float(values[0]) for metric, values in self.compute_weighted(weights).items()}

    def compute_resampled(self, resamples: int, seed: int) -> dict[str, Array]:
        """Computes the figures of each bootstrap resample: metric -> `[resamples]` float64.

        Args:
            resamples: number of resamples, >= 0.
            seed: seed of the draws.
        """
        num_clusters = self._totals.shape[1]
        chunks = [self.compute_weighted(np.empty((num_clusters, 0)))]
        for start in range(0, resamples, RESAMPLES_PER_CHUNK):
            indices = range(start, min(start + RESAMPLES_PER_CHUNK, resamples))
            chunks.append(self.compute_weighted(cluster_counts(num_clusters, indices, seed)))
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in METRICS[self._kind]}


def cluster_counts(num_clusters: int, indices: Sequence[int], seed: int) -> Array:
    """Draws clusters with replacement and counts the draws of each cluster, per resample.

    Args:
        num_clusters: number of clusters, and of draws in a resample.
        indices: indices of the resamples, >= 0.
        seed: seed of the draws.

    Returns:
        `[clusters, len(indices)]` float64. Each column sums to `num_clusters`. A column depends only on
        `num_clusters`, its index and `seed`.
    """
    counts = np.empty((num_clusters, len(indices)))
    for column, index in enumerate(indices):
        drawn = np.random.default_rng((seed, index)).integers(0, num_clusters, num_clusters)
        counts[:, column] = np.bincount(drawn, minlength=num_clusters)
    return counts


def interval(values: Array) -> tuple[float, float] | None:
    """Returns the percentile interval, at `CONFIDENCE`, of `[resamples]` values; None if none is finite."""
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _sum_by_cluster(
    clusters: npt.NDArray[np.int64], num_clusters: int, values: npt.NDArray | None = None
) -> Array:
    """Returns `[clusters]` float64 sums of the rows' values; without values, the numbers of rows."""
    return np.bincount(clusters, weights=values, minlength=num_clusters).astype(np.float64)


def _divide(numerator: Array, denominator: Array) -> Array:
    """Divides elementwise; NaN where the denominator is 0."""
    undefined = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)
