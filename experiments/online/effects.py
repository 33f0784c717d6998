"""Relative change between a policy and the control, with an interval over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation.bootstrap import CONFIDENCE

Array = Any

ENGAGEMENT, SATISFACTION = "engagement", "satisfaction"
MEASURES = (ENGAGEMENT, SATISFACTION)

_HALF_WIDTH = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
"""Half the width of a confidence interval, in standard errors."""


@dataclass(frozen=True)
class Change:
    """A relative change.

    Attributes:
        value: the change; 0.01 is one per cent more.
        error: standard error of `value`.
    """

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % confidence interval."""
        return self.value - _HALF_WIDTH * self.error, self.value + _HALF_WIDTH * self.error

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0

    def power(self, effect: float) -> float:
        """The probability that an experiment of this size detects a true change of `effect`."""
        shift = effect / self.error
        return float(stats.norm.cdf(shift - _HALF_WIDTH) + stats.norm.cdf(-shift - _HALF_WIDTH))


def measures_of(outcomes: Mapping[str, Array]) -> dict[str, Array]:
    """`[rows]` float64 by measure: engagement in seconds watched; satisfaction in long views and likes."""
    return {
        ENGAGEMENT: np.expm1(outcomes["watch_time"].astype(np.float64)),
        SATISFACTION: outcomes["long_view"].astype(np.float64) + outcomes["like"],
    }


def mean_changes(totals: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> dict[str, Change]:
    """The mean change over seeds, by measure; its error covers users and seeds.

    Args:
        totals: for each seed, the users' totals by measure: under the policy, and under the control.
    """
    means = {}
    for measure in MEASURES:
        changes = [change(treated[measure], control[measure]) for treated, control in totals]
        values = np.array([of_seed.value for of_seed in changes])
        seed_variance = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
        # Every seed has the same users, so that more seeds do not reduce their error.
        user_variance = np.mean([of_seed.error**2 for of_seed in changes])
        means[measure] = Change(float(values.mean()), float(np.sqrt(user_variance + seed_variance)))
    return means


def change(treated: Array, control: Array) -> Change:
    """The relative change of the users' total, with users as the sampling unit.

    Args:
        treated: `[users]` float64, each user's total under the policy.
        control: `[users]` float64, the same user's total under the control.

    Returns:
        The ratio of the sums minus 1. Its error follows from the delta method with paired totals.
    """
    ratio = treated.sum() / control.sum()
    influences = (treated - ratio * control) / control.sum()
    num_users = len(influences)
    squares = np.square(influences - influences.mean()).sum()
    return Change(float(ratio - 1), float(np.sqrt(num_users / (num_users - 1)) * np.sqrt(squares)))
