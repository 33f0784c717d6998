"""Confidence intervals that resample users and seeds together, and Holm's correction of p-values."""

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
"""Bounds memory: a chunk holds `[clusters, resamples]` float64."""


@dataclass(frozen=True)
class Estimate:
    """A value with its intervals; an interval is None if there are too few seeds or no value.

    Attributes:
        value: mean over seeds, with all clusters.
        users_and_seeds: ends of the interval that resamples clusters and seeds.
        seeds_only: ends of Student's t interval over the seeds; clusters are not resampled.
        p_value: two-sided p-value against 0, from the resamples; 1 if no resample is finite.
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
        draws: number of resamples.
        seed: seed of the resampling.
    """

    def __init__(self, num_clusters: int, num_seeds: int, draws: int, seed: int) -> None:
        self._num_clusters = num_clusters
        self._draws = draws
        self._seed = seed
        random = np.random.default_rng((seed, num_seeds))
        self._seeds = random.integers(0, num_seeds, (draws, num_seeds))

    def replicates(self, figures: Sequence[Sequence[MetricValue]]) -> Array:
        """The mean over seeds of each arm in each resample.

        Args:
            figures: for each arm, one value for each seed.

        Returns:
            `[draws, arms]` float64.
        """
        values = np.array([[figure.value for figure in arm] for arm in figures])
        influences = np.stack([figure.influence for arm in figures for figure in arm], axis=1)
        changes = np.empty((self._draws, *values.shape))
        for start in range(0, self._draws, _RESAMPLES_PER_CHUNK):
            indices = range(start, min(start + _RESAMPLES_PER_CHUNK, self._draws))
            weights = cluster_counts(self._num_clusters, indices, self._seed) - 1
            changes[indices.start : indices.stop] = (weights.T @ influences).reshape(-1, *values.shape)
        per_seed = values[None] + changes
        return np.take_along_axis(per_seed, self._seeds[:, None, :], axis=2).mean(axis=2)

    def estimate(
        self, figures: Sequence[Sequence[MetricValue]], combine: Callable[[Array], Array], replicates: Array
    ) -> Estimate:
        """Estimates a function of several arms' metrics, such as a difference, with its intervals.

        Args:
            figures: for each arm, one value for each seed.
            combine: the function, from `[..., arms]` to `[...]`.
            replicates: `[draws, arms]`, the result of `replicates` for the same arms.
        """
        by_seed = np.array([[figure.value for figure in arm] for arm in figures])
        value = float(combine(by_seed.mean(axis=1)))
        combined = combine(replicates)
        return Estimate(value, interval(combined), _t_interval(combine(by_seed.T)), _p_value(combined))


def first_arm(arms: Array) -> Array:
    """The first arm's metric."""
    return arms[..., 0]


def difference(arms: Array) -> Array:
    """The first arm's metric minus the second's."""
    return arms[..., 0] - arms[..., 1]


def recovered_gain(arms: Array) -> Array:
    """(student - control) / (teacher - control), for arms in the order student, control, teacher."""
    gain = arms[..., 2] - arms[..., 1]
    return np.divide(arms[..., 0] - arms[..., 1], gain, out=np.full_like(gain, np.nan), where=gain != 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of `p_values`.

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
