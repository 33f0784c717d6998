"""Metrics with the influence of each cluster, from which the intervals of many models are computed fast.

`components.evaluation.bootstrap` computes every resample exactly, in about a second for each model, task and
surface. This module uses a linear approximation, the infinitesimal jackknife: a resample changes a metric by
the sum over clusters of (number of draws - 1) * influence. One matrix product computes the changes of all
models. A test compares the two methods.

Reference: Efron, "Nonparametric estimates of standard error", Biometrika 1981; for AUC the influences are
the placement values of DeLong et al., Biometrics 1988.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation import metrics
from components.evaluation.bootstrap import METRICS, SpanRows

Array = Any


@dataclass(frozen=True)
class MetricValue:
    """One metric of one model.

    Attributes:
        value: the metric with all clusters at weight 1; NaN if it is undefined.
        influence: `[clusters]` float64, the derivative of the metric by the weight of each cluster.
    """

    value: float
    influence: Array


def metric_values(kind: str, spans: Sequence[SpanRows], num_clusters: int) -> dict[str, MetricValue]:
    """The metrics of one model on one task, by the names in `METRICS`; for AUC see `mean_auc`.

    Args:
        kind: kind of the task, `binary` or `regression`.
        spans: the labelled rows of each span. Without spans, or if a prediction is not finite, all metrics
            are NaN.
        num_clusters: number of clusters of the stream.
    """
    # Sorting ranks NaN above all other predictions, so AUC would be finite.
    if not spans or not all(np.isfinite(rows.predictions).all() for rows in spans):
        return dict.fromkeys(METRICS[kind], MetricValue(float("nan"), np.zeros(num_clusters)))
    labels = np.concatenate([rows.labels for rows in spans]).astype(np.float64)
    predictions = np.concatenate([rows.predictions for rows in spans]).astype(np.float64)
    clusters = np.concatenate([rows.clusters for rows in spans])
    calibration = ratio(predictions, labels, clusters, num_clusters)
    if kind == "regression":
        squares = metrics.squared_errors(labels, predictions)
        mean = ratio(squares, np.ones_like(squares), clusters, num_clusters)
        root = float(np.sqrt(mean.value))
        rmse = MetricValue(root, mean.influence / (2 * root) if root > 0 else mean.influence)
        return {"rmse": rmse, "calibration": calibration}
    losses = metrics.log_losses(labels, predictions)
    log_loss = ratio(losses, np.ones_like(losses), clusters, num_clusters)
    return {"auc": mean_auc(spans, num_clusters), "log_loss": log_loss, "calibration": calibration}


def mean_auc(spans: Sequence[SpanRows], num_clusters: int) -> MetricValue:
    """The mean of the spans' AUCs, weighted by their number of rows; skips spans with only one class."""
    values, weights, influences = [], [], []
    for rows in spans:
        value, influence = _auc(rows, num_clusters)
        if np.isfinite(value):
            values.append(value)
            weights.append(np.bincount(rows.clusters, minlength=num_clusters).astype(np.float64))
            influences.append(influence)
    if not values:
        return MetricValue(float("nan"), np.zeros(num_clusters))
    sizes = np.array([weight.sum() for weight in weights])
    mean = float(np.average(values, weights=sizes))
    # The weight of a cluster changes both the AUC of a span and the number of rows that weights it.
    total = sum(
        size * influence + weight * (value - mean)
        for size, influence, weight, value in zip(sizes, influences, weights, values, strict=True)
    )
    return MetricValue(mean, total / sizes.sum())


def _auc(rows: SpanRows, num_clusters: int) -> tuple[float, Array]:
    """The AUC of a span (NaN with only one class) and its `[clusters]` influences."""
    positive = np.asarray(rows.labels) > 0.5
    positives, negatives = np.sort(rows.predictions[positive]), np.sort(rows.predictions[~positive])
    if not len(positives) or not len(negatives):
        return float("nan"), np.zeros(num_clusters)
    # `below`: for each positive, the share of negatives with a smaller prediction.
    # `above`: for each negative, the share of positives with a larger prediction. Ties count 1/2.
    below = _num_below(negatives, rows.predictions[positive]) / len(negatives)
    above = 1 - _num_below(positives, rows.predictions[~positive]) / len(positives)
    value = float(below.mean())
    influence = np.bincount(
        rows.clusters[positive], weights=(below - value) / len(positives), minlength=num_clusters
    )
    influence += np.bincount(
        rows.clusters[~positive], weights=(above - value) / len(negatives), minlength=num_clusters
    )
    return value, influence


def _num_below(ordered: Array, values: Array) -> Array:
    """For each of `values`, the number of smaller elements of the sorted `ordered`; ties count 1/2."""
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def ratio(numerators: Array, denominators: Array, clusters: Array, num_clusters: int) -> MetricValue:
    """The sum of `numerators` divided by the sum of `denominators`; NaN if the latter is 0.

    Args:
        numerators: `[rows]` float64.
        denominators: `[rows]` float64.
        clusters: `[rows]` int, the cluster of each row.
        num_clusters: number of clusters.
    """
    total = float(denominators.sum())
    if total == 0:
        return MetricValue(float("nan"), np.zeros(num_clusters))
    value = float(numerators.sum() / total)
    row_influence = (numerators - value * denominators) / total
    return MetricValue(value, np.bincount(clusters, weights=row_influence, minlength=num_clusters))
