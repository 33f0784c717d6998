"""What a policy changes, in per cent of the control's, with an interval that resamples users."""

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


@dataclass(frozen=True)
class Change:
    """A relative change.

    Attributes:
        value: 0.01 is one per cent more.
        error: its standard error.
    """

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """At 95 %."""
        reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * self.error
        return self.value - reach, self.value + reach

    @property
    def excludes_zero(self) -> bool:
        """Whether there is evidence of a change."""
        low, high = self.interval
        return low > 0 or high < 0

    def power(self, effect: float) -> float:
        """The chance that an experiment of this size finds a true change of `effect`."""
        limit = stats.norm.ppf((1 + CONFIDENCE) / 2)
        return float(
            stats.norm.cdf(effect / self.error - limit) + stats.norm.cdf(-effect / self.error - limit)
        )


def measured(outcomes: Mapping[str, Array]) -> dict[str, Array]:
    """`[rows]` float64 by measure: seconds watched; long views and likes."""
    return {
        ENGAGEMENT: np.expm1(outcomes["watch_time"].astype(np.float64)),
        SATISFACTION: outcomes["long_view"].astype(np.float64) + outcomes["like"],
    }


def mean_changes(totals: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> dict[str, Change]:
    """The change by measure, the mean over seeds; its error adds that of the users and that of the seeds.

    Args:
        totals: by seed, the users' sums by measure under the policy and under the control; see `change`.
    """
    found = {}
    for measure in MEASURES:
        of_seeds = [change(treated[measure], control[measure]) for treated, control in totals]
        values = np.array([one.value for one in of_seeds])
        between = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
        users = np.mean([one.error**2 for one in of_seeds])
        found[measure] = Change(float(values.mean()), float(np.sqrt(users + between)))
    return found


def change(treated: Array, control: Array) -> Change:
    """The change of the users' total, users being what was drawn.

    Args:
        treated: `[users]` float64, each user's sum under the policy.
        control: `[users]` float64, the same user's under the control.

    Returns:
        The ratio of the sums less 1; its error by the delta method, a user's two sums being paired.
    """
    ratio = treated.sum() / control.sum()
    moved = (treated - ratio * control) / control.sum()
    spread = np.sqrt(len(moved) / (len(moved) - 1)) * np.sqrt(np.square(moved - moved.mean()).sum())
    return Change(float(ratio - 1), float(spread))
