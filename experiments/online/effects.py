"""Relative change of users' outcomes under a policy against the control, with a confidence interval."""

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

_CRITICAL_VALUE = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
"""Half the width of a confidence interval, in standard errors."""


@dataclass(frozen=True)
class Change:
    """The relative change of a measure.

    Attributes:
        value: the estimate; 0.01 is one per cent more than the control.
        error: standard error of `value`.
    """

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % confidence interval."""
        return self.value - _CRITICAL_VALUE * self.error, self.value + _CRITICAL_VALUE * self.error

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0

    def power(self, effect: float) -> float:
        """The probability that an experiment with this standard error detects a true change of `effect`."""
        shift = effect / self.error
        return float(stats.norm.cdf(shift - _CRITICAL_VALUE) + stats.norm.cdf(-shift - _CRITICAL_VALUE))


def measures_of(outcomes: Mapping[str, Array]) -> dict[str, Array]:
    """Engagement in seconds watched, and satisfaction as the number of long views and likes.

    Args:
        outcomes: labels by task, `[rows]` float each; `watch_time` is the log1p of seconds.

    Returns:
        For each measure, `[rows]` float64.
    """
    return {
        ENGAGEMENT: np.expm1(outcomes["watch_time"].astype(np.float64)),
        SATISFACTION: outcomes["long_view"].astype(np.float64) + outcomes["like"],
    }


def mean_changes(totals: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> dict[str, Change]:
    """The mean change over seeds, by measure; the standard error covers users and seeds.

    Args:
        totals: for each seed, two mappings from measure to `[users]` totals: under the policy, and under the
            control.
    """
    means = {}
    for measure in MEASURES:
        changes = [relative_change(treated[measure], control[measure]) for treated, control in totals]
        values = np.array([change.value for change in changes])
        seed_variance = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
        # All seeds have the same users, so more seeds do not reduce the error that users cause.
        user_variance = np.mean([change.error**2 for change in changes])
        means[measure] = Change(float(values.mean()), float(np.sqrt(user_variance + seed_variance)))
    return means


def relative_change(treated: Array, control: Array) -> Change:
    """The relative change of the sum over users. Its standard error takes users as the sampling unit.

    Args:
        treated: `[users]` float64, each user's total under the policy.
        control: `[users]` float64, the same user's total under the control.

    Returns:
        The ratio of the sums minus 1. The error comes from the delta method with paired totals.
    """
    ratio = treated.sum() / control.sum()
    influences = (treated - ratio * control) / control.sum()
    num_users = len(influences)
    squares = np.square(influences - influences.mean()).sum()
    return Change(float(ratio - 1), float(np.sqrt(num_users / (num_users - 1)) * np.sqrt(squares)))
