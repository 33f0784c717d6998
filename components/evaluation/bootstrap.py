"""Bootstrap intervals of figures over several spans: clusters (users) are resampled with replacement.

Rows of one user depend on each other, so intervals from resampled rows would be too narrow. A resample is a
multinomial count per cluster. The counts depend only on the seed and the number of clusters, so two models
with the same clusters get the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluation import metrics

Array = npt.NDArray[np.float64]

METRICS = {"binary": ("auc", "log_loss", "calibration"), "regression": ("rmse", "calibration")}
"""Kind of task -> its metrics in display order; the push gate compares the first metric."""

CONFIDENCE = 0.95
RESAMPLES_PER_CHUNK = 32
"""Limits memory: a chunk holds a few float64 arrays `[rows of the largest span, RESAMPLES_PER_CHUNK]`."""


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
    """Computes the figures of one model and task over several spans, under any weighting of the clusters.

    AUC is the mean of the spans' AUCs, weighted by rows, so that a drift of the base rate between spans does
    not change it. Spans with only one class are skipped. All other figures are computed on the rows of all
    spans.

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
                _sums(rows.clusters, num_clusters),
            )
            for rows in spans
            if kind == "binary"
        ]
        per_row = metrics.log_losses if kind == "binary" else metrics.squared_errors
        # Sums per cluster of rows, losses, predictions and labels; one matrix product weights all four sums.
        self._totals = np.zeros((4, num_clusters))
        for rows in spans:
            losses = per_row(rows.labels, rows.predictions)
            for index, values in enumerate((None, losses, rows.predictions, rows.labels)):
                self._totals[index] += _sums(rows.clusters, num_clusters, values)

    def weighted(self, counts: Array) -> dict[str, Array]:
        """Returns the figures if each cluster is weighted by its count.

        Args:
            counts: `[clusters, weightings]` float64 >= 0.

        Returns:
            metric -> `[weightings]` float64, NaN where the metric is undefined.
        """
        rows, losses, predictions, labels = self._totals @ counts
        mean_loss, bias = _ratio(losses, rows), _ratio(predictions, labels)
        if self._kind == "regression":
            return {"rmse": np.sqrt(mean_loss), "calibration": bias}
        return {"auc": self._mean_auc(counts), "log_loss": mean_loss, "calibration": bias}

    def _mean_auc(self, counts: Array) -> Array:
        total, weight = np.zeros((2, counts.shape[1]))
        for ranking, rows_of_cluster in self._rankings:
            span_auc, span_rows = ranking.auc(counts), rows_of_cluster @ counts
            defined = np.isfinite(span_auc)
            total += np.where(defined, span_auc, 0) * span_rows
            weight += np.where(defined, span_rows, 0)
        return _ratio(total, weight)

    def unweighted(self) -> dict[str, float]:
        """Returns the figures without resampling: metric -> float, NaN where the metric is undefined."""
        counts = np.ones((self._totals.shape[1], 1))
        return {metric: float(values[0]) for metric, values in self.weighted(counts).items()}

    def resampled(self, resamples: int, seed: int) -> dict[str, Array]:
        """Returns the figures of bootstrap resamples: metric -> `[resamples]` float64.

        Two models with the same clusters and seed get the same resamples.
        """
        num_clusters = self._totals.shape[1]
        chunks = [self.weighted(np.empty((num_clusters, 0)))]
        for start in range(0, resamples, RESAMPLES_PER_CHUNK):
            indices = range(start, min(start + RESAMPLES_PER_CHUNK, resamples))
            chunks.append(self.weighted(cluster_counts(num_clusters, indices, seed)))
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in METRICS[self._kind]}


def cluster_counts(num_clusters: int, indices: Sequence[int], seed: int) -> Array:
    """Draws how often each cluster occurs in the resamples with these indices.

    Returns:
        `[clusters, len(indices)]` float64. Each column sums to `num_clusters` and depends only on
        `num_clusters`, its index and `seed`.
    """
    counts = np.empty((num_clusters, len(indices)))
    for column, index in enumerate(indices):
        drawn = np.random.default_rng((seed, index)).integers(0, num_clusters, num_clusters)
        counts[:, column] = np.bincount(drawn, minlength=num_clusters)
    return counts


def interval(values: Array) -> tuple[float, float] | None:
    """Returns the percentile interval at `CONFIDENCE` of `[resamples]` values; None if all are NaN."""
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _sums(clusters: npt.NDArray[np.int64], num_clusters: int, values: npt.NDArray | None = None) -> Array:
    return np.bincount(clusters, weights=values, minlength=num_clusters).astype(np.float64)


def _ratio(numerator: Array, denominator: Array) -> Array:
    undefined = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)
