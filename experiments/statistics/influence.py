"""Figures over several spans, and what each cluster's weight does to them: intervals of hundreds of models.

`components.evaluation.bootstrap` counts every resample out, which takes a second a model, task and surface.
Here a resample of the clusters moves a figure by the sum of their influences (the infinitesimal jackknife),
so that all models share one product of matrices. With thousands of clusters the two agree closely; a test
holds one against the other.

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
class Figure:
    """One figure of one model.

    Attributes:
        value: NaN where it is undefined.
        influence: `[clusters]` float64: the figure's derivative to each cluster's weight, where all are 1.
    """

    value: float
    influence: Array


def figures(kind: str, spans: Sequence[SpanRows], num_clusters: int) -> dict[str, Figure]:
    """The figures that `METRICS` names for a kind of task; AUC is the row-weighted mean of the spans'.

    Args:
        kind: `binary` or `regression`.
        spans: the rows of each span that have a label; without any, or with a prediction that is not finite,
            nothing is defined.
        num_clusters: how many there are.
    """
    # A missing prediction would rank above all others and pass for a good one.
    if not spans or not all(np.isfinite(rows.predictions).all() for rows in spans):
        return dict.fromkeys(METRICS[kind], Figure(float("nan"), np.zeros(num_clusters)))
    labels = np.concatenate([rows.labels for rows in spans]).astype(np.float64)
    predictions = np.concatenate([rows.predictions for rows in spans]).astype(np.float64)
    clusters = np.concatenate([rows.clusters for rows in spans])
    calibration = ratio(predictions, labels, clusters, num_clusters)
    if kind == "regression":
        squares = metrics.squared_errors(labels, predictions)
        mean = ratio(squares, np.ones_like(squares), clusters, num_clusters)
        root = float(np.sqrt(mean.value))
        rmse = Figure(root, mean.influence / (2 * root) if root > 0 else mean.influence)
        return {"rmse": rmse, "calibration": calibration}
    losses = metrics.log_losses(labels, predictions)
    log_loss = ratio(losses, np.ones_like(losses), clusters, num_clusters)
    return {"auc": mean_auc(spans, num_clusters), "log_loss": log_loss, "calibration": calibration}


def mean_auc(spans: Sequence[SpanRows], num_clusters: int) -> Figure:
    """The mean of the spans' AUCs, weighted with their rows; spans with one class are skipped."""
    values, weights, influences = [], [], []
    for rows in spans:
        value, influence = _auc(rows, num_clusters)
        if np.isfinite(value):
            values.append(value)
            weights.append(np.bincount(rows.clusters, minlength=num_clusters).astype(np.float64))
            influences.append(influence)
    if not values:
        return Figure(float("nan"), np.zeros(num_clusters))
    sizes = np.array([weight.sum() for weight in weights])
    mean = float(np.average(values, weights=sizes))
    # A heavier cluster changes a span's AUC, and how much that span counts.
    total = sum(
        size * influence + weight * (value - mean)
        for size, influence, weight, value in zip(sizes, influences, weights, values, strict=True)
    )
    return Figure(mean, total / sizes.sum())


def _auc(rows: SpanRows, num_clusters: int) -> tuple[float, Array]:
    """A span's AUC, and its derivative to the weight of each cluster."""
    positive = np.asarray(rows.labels) > 0.5
    ups, downs = np.sort(rows.predictions[positive]), np.sort(rows.predictions[~positive])
    if not len(ups) or not len(downs):
        return float("nan"), np.zeros(num_clusters)
    # The share of the other class that each row outranks (or is outranked by), ties counting one half.
    beaten = _below(downs, rows.predictions[positive]) / len(downs)
    beating = 1 - _below(ups, rows.predictions[~positive]) / len(ups)
    value = float(beaten.mean())
    influence = np.bincount(
        rows.clusters[positive], weights=(beaten - value) / len(ups), minlength=num_clusters
    )
    influence += np.bincount(
        rows.clusters[~positive], weights=(beating - value) / len(downs), minlength=num_clusters
    )
    return value, influence


def _below(ordered: Array, values: Array) -> Array:
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def ratio(numerators: Array, denominators: Array, clusters: Array, num_clusters: int) -> Figure:
    """Sum over sum, NaN over nothing."""
    total = float(denominators.sum())
    if total == 0:
        return Figure(float("nan"), np.zeros(num_clusters))
    value = float(numerators.sum() / total)
    moved = (numerators - value * denominators) / total
    return Figure(value, np.bincount(clusters, weights=moved, minlength=num_clusters))
