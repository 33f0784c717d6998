"""Intervals that resample users and seeds together: a finding must hold for other users and other runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation.bootstrap import CONFIDENCE, cluster_counts, interval
from experiments.statistics.influence import Figure

Array = Any

_CHUNK = 100
"""Resamples at once: as many columns of counts as clusters are held in memory."""


@dataclass(frozen=True)
class Estimate:
    """A number with its intervals; None where there are too few seeds or no value.

    Attributes:
        value: of all clusters, the mean over seeds.
        both: low and high, clusters and seeds resampled.
        seeds: low and high of Student's t over the seeds alone, the clusters as they are.
        p: two-sided, against 0, of the resamples; 1 where there are none.
    """

    value: float
    both: tuple[float, float] | None
    seeds: tuple[float, float] | None
    p: float


class Resamples:
    """Resamples of clusters and seeds, the same for all that is compared.

    Args:
        num_clusters: how many clusters there are.
        num_seeds: how many seeds each arm was run with.
        draws: how many resamples.
        seed: of the resampling.
    """

    def __init__(self, num_clusters: int, num_seeds: int, draws: int, seed: int) -> None:
        self._num_clusters = num_clusters
        self._draws = draws
        self._seed = seed
        random = np.random.default_rng((seed, num_seeds))
        self._seeds = random.integers(0, num_seeds, (draws, num_seeds))

    def replicates(self, figures: Sequence[Sequence[Figure]]) -> Array:
        """Resampled means over seeds of several arms.

        Args:
            figures: by arm, by seed.

        Returns:
            `[draws, arms]` float64.
        """
        values = np.array([[figure.value for figure in arm] for arm in figures])
        influences = np.stack([figure.influence for arm in figures for figure in arm], axis=1)
        moved = np.empty((self._draws, *values.shape))
        for start in range(0, self._draws, _CHUNK):
            indices = range(start, min(start + _CHUNK, self._draws))
            weights = cluster_counts(self._num_clusters, indices, self._seed) - 1
            moved[indices.start : indices.stop] = (weights.T @ influences).reshape(-1, *values.shape)
        per_seed = values[None] + moved
        return np.take_along_axis(per_seed, self._seeds[:, None, :], axis=2).mean(axis=2)

    def estimate(
        self, figures: Sequence[Sequence[Figure]], combine: Callable[[Array], Array], replicates: Array
    ) -> Estimate:
        """A figure of several arms together, such as a difference.

        Args:
            figures: by arm, by seed.
            combine: `[..., arms]` to `[...]`.
            replicates: what `replicates` gave for these arms.
        """
        by_seed = np.array([[figure.value for figure in arm] for arm in figures])
        value = float(combine(by_seed.mean(axis=1)))
        drawn = combine(replicates)
        return Estimate(value, interval(drawn), _t_interval(combine(by_seed.T)), _p_value(drawn))


def first(arms: Array) -> Array:
    """The first arm's own figure."""
    return arms[..., 0]


def difference(arms: Array) -> Array:
    """The first arm's less the second's."""
    return arms[..., 0] - arms[..., 1]


def recovered(arms: Array) -> Array:
    """The share of the teacher's gain over the control that a student has: (student - control) / (teacher -
    control), of arms in the order student, control, teacher."""
    gain = arms[..., 2] - arms[..., 1]
    return np.divide(arms[..., 0] - arms[..., 1], gain, out=np.full_like(gain, np.nan), where=gain != 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

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
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error
    return float(values.mean() - reach), float(values.mean() + reach)


def _p_value(drawn: Array) -> float:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return 1.0
    tail = min((finite <= 0).sum(), (finite >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(finite) + 1)))
