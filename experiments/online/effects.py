"""Relative change of users' outcomes under a policy against the control, with a confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation.bootstrap import CONFIDENCE
from models.tasks import Task

Array = Any

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


@dataclass(frozen=True)
class Measures:
    """Computes the measures of a policy from the outcomes of the rows that it shows.

    Attributes:
        weights: for each measure, the weights of its tasks; see `pipeline.roles.Ranking.measures`.
        tasks: the deployment's tasks by name.
    """

    weights: Mapping[str, Mapping[str, float]]
    tasks: Mapping[str, Task]

    @property
    def used_tasks(self) -> tuple[str, ...]:
        """The tasks whose outcomes are counted."""
        return tuple(dict.fromkeys(task for weights in self.weights.values() for task in weights))

    def of(self, outcomes: Mapping[str, Array]) -> dict[str, Array]:
        """Computes the measures of each row.

        Args:
            outcomes: labels of `used_tasks`, `[rows]` float each, on the task's scale.

        Returns:
            For each measure, `[rows]` float64.
        """
        return {
            measure: sum(weight * self._amounts(task, outcomes[task]) for task, weight in weights.items())
            for measure, weights in self.weights.items()
        }

    def _amounts(self, task: str, outcomes: Array) -> Array:
        """The outcomes without log1p, for example in seconds instead of `log1p_seconds`."""
        amounts = np.asarray(outcomes, np.float64)
        settings = self.tasks[task]
        return np.expm1(amounts) if "log1p" in (settings.scale, settings.unit.partition("_")[0]) else amounts


def mean_changes(totals: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> dict[str, Change]:
    """The mean change over seeds, by measure; the standard error covers users and seeds.

    Args:
        totals: for each seed, two mappings from measure to `[users]` totals: under the policy, and under the
            control.
    """
    means = {}
    for measure in totals[0][0]:
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
