"""Tunes the hyperparameters of an arm with the same number of trials for every arm."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.protocol.criterion import criterion
from experiments.protocol.settings import Grid


@dataclass(frozen=True)
class Hyperparameters:
    """The tuned hyperparameters.

    Attributes:
        learning_rate: of Adagrad.
        passes: training passes over each span.
        input_dropout: dropout rate of embeddings and numeric features.
        soft_weight: factor of the soft losses, times the task's weight; unused by teachers and control.
    """

    learning_rate: float
    passes: int
    input_dropout: float
    soft_weight: float


Measure = Callable[[Sequence[tuple[Hyperparameters, int]]], list[dict[str, float]]]
"""Runs the trials of (point, seed) pairs; returns the gains by task for each pair."""


@dataclass(frozen=True)
class PointResult:
    """A point and its gains.

    Attributes:
        point: the hyperparameters.
        gains: for each seed, the information gain by task.
    """

    point: Hyperparameters
    gains: tuple[dict[str, float], ...]

    @property
    def criterion(self) -> float:
        """The mean over tasks and seeds; -inf if one seed diverged."""
        return float(np.mean([criterion(gains) for gains in self.gains]))


@dataclass(frozen=True)
class TuningResult:
    """The result of tuning an arm.

    Attributes:
        point: the best finalist.
        tried: all points; the finalists have all seeds.
    """

    point: Hyperparameters
    tried: tuple[PointResult, ...]

    @property
    def front(self) -> tuple[PointResult, ...]:
        """The Pareto front: points that no other point dominates on every task."""
        means = [_mean_gains(result) for result in self.tried]
        return tuple(
            result
            for result, mean in zip(self.tried, means, strict=True)
            if mean and not any(_dominates(other, mean) for other in means if other)
        )


def grid_points(grid: Grid) -> list[Hyperparameters]:
    """The grid's points; each gets one soft weight at random, the same for every arm."""
    settings = list(itertools.product(grid.learning_rates, grid.passes, grid.input_dropouts))
    repeats = -(-len(settings) // len(grid.soft_weights))
    weights = np.random.default_rng(0).permutation(np.repeat(grid.soft_weights, repeats))
    return [
        Hyperparameters(*setting, float(weight)) for setting, weight in zip(settings, weights, strict=False)
    ]


def choose_point(grid: Grid, measure: Measure, *, distilled: bool) -> TuningResult:
    """Measures every point with one seed, then neighbours of the best, then the best with more seeds.

    Each further seed halves the number of points (successive halving); the last seed is for the finalists.

    Args:
        grid: the points.
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
        # Neighbours of a point share its luck with the first seed and would fill all places of finalists. So
        # more points get a second seed.
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
    """Results with one seed, the best first."""
    all_gains = measure([(point, 0) for point in points])
    return _best_first(PointResult(point, (gains,)) for point, gains in zip(points, all_gains, strict=True))


def _best_first(results: Iterable[PointResult]) -> list[PointResult]:
    return sorted(results, key=lambda result: -result.criterion)


def _neighbours(point: Hyperparameters, grid: Grid, distilled: bool) -> list[Hyperparameters]:
    """The point with every other soft weight or, if it is not distilled, with as many other learning rates.

    The other learning rates are the point's times 2 to the power of +1/2, -1/2, +1/4, -1/4, +1/6, -1/6 ...
    """
    others = [weight for weight in grid.soft_weights if weight != point.soft_weight]
    if distilled:
        return [dataclasses.replace(point, soft_weight=weight) for weight in others]
    octaves = [(-1) ** index / (2 + index // 2 * 2) for index in range(len(others))]
    return [dataclasses.replace(point, learning_rate=point.learning_rate * 2**octave) for octave in octaves]


def _mean_gains(result: PointResult) -> dict[str, float]:
    return {task: float(np.mean([gains[task] for gains in result.gains])) for task in result.gains[0]}


def _dominates(other: dict[str, float], gains: dict[str, float]) -> bool:
    return all(other[task] >= gain for task, gain in gains.items()) and other != gains
