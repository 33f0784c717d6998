"""Chooses the hyperparameters of an arm; every arm gets the same number of trials."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.protocol.criterion import criterion
from experiments.protocol.settings import Grid


@dataclass(frozen=True)
class Hyperparameters:
    """The tuned hyperparameters of an arm: one point of the search.

    Attributes:
        learning_rate: learning rate of Adagrad.
        passes: number of training passes over each span.
        input_dropout: dropout rate of embeddings and numeric features.
        soft_weight: a task's soft loss has the factor `soft_weight` * the task's weight. Teachers and the
            control do not use it.
    """

    learning_rate: float
    passes: int
    input_dropout: float
    soft_weight: float


Measure = Callable[[Sequence[tuple[Hyperparameters, int]]], list[dict[str, float]]]
"""Runs one trial for each pair (point, seed); returns each trial's information gain by task."""


@dataclass(frozen=True)
class PointResult:
    """A point and its information gains on the tuning spans.

    Attributes:
        point: the hyperparameters.
        gains: for each seed, the information gain by task.
    """

    point: Hyperparameters
    gains: tuple[dict[str, float], ...]

    @property
    def criterion(self) -> float:
        """The mean gain over tasks and seeds; -inf if a seed diverged or no task has a gain."""
        return float(np.mean([criterion(gains) for gains in self.gains]))


@dataclass(frozen=True)
class TuningResult:
    """The result of tuning an arm.

    Attributes:
        point: the chosen point, the best finalist.
        tried: results of all points, the finalists first. Only the finalists have gains for all seeds.
    """

    point: Hyperparameters
    tried: tuple[PointResult, ...]

    @property
    def front(self) -> tuple[PointResult, ...]:
        """The Pareto front: results that no other result dominates. A result without gains is left out."""
        means = [_mean_gains(result) for result in self.tried]
        return tuple(
            result
            for result, mean in zip(self.tried, means, strict=True)
            if mean and not any(_dominates(other, mean) for other in means if other)
        )


def grid_points(grid: Grid) -> list[Hyperparameters]:
    """The points of the grid. Each has one soft weight, drawn at random but the same for every arm."""
    settings = list(itertools.product(grid.learning_rates, grid.passes, grid.input_dropouts))
    repeats = math.ceil(len(settings) / len(grid.soft_weights))
    weights = np.random.default_rng(0).permutation(np.repeat(grid.soft_weights, repeats))
    return [
        Hyperparameters(*setting, float(weight)) for setting, weight in zip(settings, weights, strict=False)
    ]


def choose_point(grid: Grid, measure: Measure, *, distilled: bool) -> TuningResult:
    """Tries all points of the grid, then neighbours of the best points, then the best of all with more seeds.

    The last seed is tried with the finalists, the seed before it with twice as many points, and so on
    (successive halving). The first seed is tried with all points.

    Args:
        grid: the points of the grid and the numbers of finalists and seeds.
        measure: runs the trials.
        distilled: whether the arm has soft losses.
    """
    results = _measure_once(measure, grid_points(grid))
    neighbours = [
        point for result in results[: grid.finalists] for point in _neighbours(result.point, grid, distilled)
    ]
    remaining = _best_first([*results, *_measure_once(measure, neighbours)])
    dropped: list[PointResult] = []
    for seed in range(1, grid.seeds):
        # If a point is good by chance with the first seed, so are its neighbours, and they could take the
        # places of all finalists. So the seeds between the first and the last are tried with more points.
        count = grid.finalists * 2 ** (grid.seeds - 1 - seed)
        dropped += remaining[count:]
        remaining = remaining[:count]
        new_gains = measure([(result.point, seed) for result in remaining])
        remaining = _best_first(
            PointResult(result.point, (*result.gains, gains))
            for result, gains in zip(remaining, new_gains, strict=True)
        )
    return TuningResult(remaining[0].point, (*remaining, *dropped))


def _measure_once(measure: Measure, points: Sequence[Hyperparameters]) -> list[PointResult]:
    """Results of `points` with seed 0, the best first."""
    all_gains = measure([(point, 0) for point in points])
    return _best_first(PointResult(point, (gains,)) for point, gains in zip(points, all_gains, strict=True))


def _best_first(results: Iterable[PointResult]) -> list[PointResult]:
    return sorted(results, key=lambda result: -result.criterion)


def _neighbours(point: Hyperparameters, grid: Grid, distilled: bool) -> list[Hyperparameters]:
    """Copies of a point with other soft weights or, if the arm is not distilled, other learning rates.

    The other learning rates are `learning_rate` times 2 to the power +1/2, -1/2, +1/4, -1/4, +1/6, -1/6 ...
    Both kinds of arms have equally many neighbours: the number of other soft weights.
    """
    other_weights = [weight for weight in grid.soft_weights if weight != point.soft_weight]
    if distilled:
        return [dataclasses.replace(point, soft_weight=weight) for weight in other_weights]
    exponents = [(-1) ** index / (2 + index // 2 * 2) for index in range(len(other_weights))]
    return [
        dataclasses.replace(point, learning_rate=point.learning_rate * 2**exponent) for exponent in exponents
    ]


def _mean_gains(result: PointResult) -> dict[str, float]:
    """The mean gain over seeds, by task."""
    return {task: float(np.mean([gains[task] for gains in result.gains])) for task in result.gains[0]}


def _dominates(other: dict[str, float], gains: dict[str, float]) -> bool:
    """True if `other` is at least as good on every task and better on one."""
    return all(other[task] >= gain for task, gain in gains.items()) and other != gains
