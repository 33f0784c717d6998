"""Confidence intervals from resamples of users (clusters) and seeds; Holm's correction of p-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation.bootstrap import CONFIDENCE, cluster_counts, interval
from experiments.statistics.influence import MetricValue

Array = Any

_RESAMPLES_PER_CHUNK = 100
"""Limits memory: a chunk is one float64 array `[clusters, _RESAMPLES_PER_CHUNK]`."""


@dataclass(frozen=True)
class Estimate:
    """A value with its intervals and p-value.

    Attributes:
        value: mean over seeds, with all clusters.
        users_and_seeds: ends of the percentile interval over resamples of clusters and seeds; None if no
            resample is finite.
        seeds_only: ends of Student's t interval over the seeds, without resampling; None with one seed, or if
            the value of a seed is not finite.
        p_value: two-sided p-value of the hypothesis that the true value is 0, from the resamples; 1 if no
            resample is finite.
    """

    value: float
    users_and_seeds: tuple[float, float] | None
    seeds_only: tuple[float, float] | None
    p_value: float


class Resamples:
    """Resamples of clusters and seeds, the same for all arms.

    Args:
        num_clusters: number of clusters of the stream.
        num_seeds: number of seeds of each arm.
        num_resamples: number of resamples.
        seed: seed of the resampling.
    """

    def __init__(self, num_clusters: int, num_seeds: int, num_resamples: int, seed: int) -> None:
        self._num_clusters = num_clusters
        self._num_resamples = num_resamples
        self._seed = seed
        random = np.random.default_rng((seed, num_seeds))
        self._seeds = random.integers(0, num_seeds, (num_resamples, num_seeds))

    def replicates(self, arms: Sequence[Sequence[MetricValue]]) -> Array:
        """The metric of each arm, as mean over the seeds, in each resample.

        Args:
            arms: for each arm, one value for each seed.

        Returns:
            `[resamples, arms]` float64.
        """
        values = np.array([[metric.value for metric in arm] for arm in arms])
        influences = np.stack([metric.influence for arm in arms for metric in arm], axis=1)
        changes = np.empty((self._num_resamples, *values.shape))
        for start in range(0, self._num_resamples, _RESAMPLES_PER_CHUNK):
            indices = range(start, min(start + _RESAMPLES_PER_CHUNK, self._num_resamples))
            weights = cluster_counts(self._num_clusters, indices, self._seed) - 1
            changes[indices.start : indices.stop] = (weights.T @ influences).reshape(-1, *values.shape)
        resampled = values[None] + changes
        return np.take_along_axis(resampled, self._seeds[:, None, :], axis=2).mean(axis=2)

    def estimate(
        self, arms: Sequence[Sequence[MetricValue]], combine: Callable[[Array], Array], replicates: Array
    ) -> Estimate:
        """Estimates a function of the metrics of several arms, such as their difference, with intervals.

        Args:
            arms: for each arm, one value for each seed.
            combine: the function, from `[..., arms]` metrics to `[...]`.
            replicates: `[resamples, arms]`, the result of the method `replicates` for the same arms.
        """
        values = np.array([[metric.value for metric in arm] for arm in arms])
        value = float(combine(values.mean(axis=1)))
        combined = combine(replicates)
        return Estimate(value, interval(combined), _t_interval(combine(values.T)), _p_value(combined))


def first_arm(arms: Array) -> Array:
    """The metric of the first arm; `arms` is `[..., arms]`, as for `Resamples.estimate`."""
    return arms[..., 0]


def difference(arms: Array) -> Array:
    """The metric of the first arm minus that of the second."""
    return arms[..., 0] - arms[..., 1]


def recovered_gain(arms: Array) -> Array:
    """(student - control) / (teacher - control); the order of `arms` is student, control, teacher."""
    gain = arms[..., 2] - arms[..., 1]
    return np.divide(arms[..., 0] - arms[..., 1], gain, out=np.full_like(gain, np.nan), where=gain != 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction, in the order of `p_values`.

    Reference: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    order = np.argsort(p_values)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _t_interval(values: Array) -> tuple[float, float] | None:
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    error = values.std(ddof=1) / np.sqrt(len(values))
    half_width = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error
    return float(values.mean() - half_width), float(values.mean() + half_width)


def _p_value(replicates: Array) -> float:
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return 1.0
    tail = min((finite <= 0).sum(), (finite >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(finite) + 1)))
