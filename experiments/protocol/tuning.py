"""Choosing on the tuning stretch: equal trials for every arm, the best few looked at again."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.protocol.criterion import criterion
from experiments.protocol.settings import Grid


@dataclass(frozen=True)
class Point:
    """One setting of what is tuned.

    Attributes:
        learning_rate: of Adagrad.
        passes: over each span.
        input_dropout: of what embeddings and numbers bring in.
        soft_weight: of the soft losses, which the control and teachers do not have; times the task's own.
    """

    learning_rate: float
    passes: int
    input_dropout: float
    soft_weight: float


@dataclass(frozen=True)
class Tried:
    """A point and what it gave.

    Attributes:
        point: the setting.
        gains: per seed, by task; see `experiments.protocol.criterion`.
    """

    point: Point
    gains: tuple[dict[str, float], ...]

    @property
    def criterion(self) -> float:
        """The mean over tasks and seeds; -inf if one seed diverged."""
        return float(np.mean([criterion(gains) for gains in self.gains]))


@dataclass(frozen=True)
class Choice:
    """What was chosen for an arm, among what.

    Attributes:
        point: the best finalist.
        tried: all points, the finalists with all their seeds.
    """

    point: Point
    tried: tuple[Tried, ...]

    @property
    def front(self) -> tuple[Tried, ...]:
        """The points that no other beats on every task: what a mean over tasks hides."""
        mean = [_mean_gains(tried) for tried in self.tried]
        return tuple(
            tried
            for tried, own in zip(self.tried, mean, strict=True)
            if own and not any(_beats(other, own) for other in mean if other)
        )


def points(grid: Grid) -> list[Point]:
    """The grid's points; soft weights are dealt out at random, the same for every arm."""
    settings = list(itertools.product(grid.learning_rates, grid.passes, grid.input_dropouts))
    rounds = -(-len(settings) // len(grid.soft_weights))
    weights = np.random.default_rng(0).permutation(np.repeat(grid.soft_weights, rounds))
    return [Point(*setting, float(weight)) for setting, weight in zip(settings, weights, strict=False)]


def choose(
    grid: Grid,
    measure: Callable[[Sequence[tuple[Point, int]]], list[dict[str, float]]],
    *,
    distilled: bool,
) -> Choice:
    """Tries every point with one seed, looks again beside the best few, then gives the best more seeds.

    With each seed more, half as many points are left (successive halving): the last one is for the finalists.

    Args:
        grid: what is tried.
        measure: gains by task of (point, seed) pairs, in their order.
        distilled: whether soft weights mean anything to the arm.
    """
    ranked = _ranked(measure, points(grid))
    beside = [point for tried in ranked[: grid.finalists] for point in _beside(tried.point, grid, distilled)]
    left = sorted([*ranked, *_ranked(measure, beside)], key=lambda tried: -tried.criterion)
    dropped: list[Tried] = []
    for seed in range(1, grid.seeds):
        # One seed alone would fill the places with neighbours of whatever it flatters.
        places = grid.finalists * 2 ** (grid.seeds - 1 - seed)
        dropped += left[places:]
        found = measure([(tried.point, seed) for tried in left[:places]])
        again = [
            Tried(tried.point, (*tried.gains, gains))
            for tried, gains in zip(left[:places], found, strict=True)
        ]
        left = sorted(again, key=lambda tried: -tried.criterion)
    return Choice(left[0].point, (*left, *dropped))


def _ranked(
    measure: Callable[[Sequence[tuple[Point, int]]], list[dict[str, float]]], asked: Sequence[Point]
) -> list[Tried]:
    """With one seed, the best first."""
    found = measure([(point, 0) for point in asked])
    tried = [Tried(point, (gains,)) for point, gains in zip(asked, found, strict=True)]
    return sorted(tried, key=lambda each: -each.criterion)


def _beside(point: Point, grid: Grid, distilled: bool) -> list[Point]:
    """What the deal left out: the other soft weights; as many other learning rates where there are none.

    They lie within half an octave of the point's: +1/2, -1/2, +1/4, -1/4, ...
    """
    others = [weight for weight in grid.soft_weights if weight != point.soft_weight]
    if distilled:
        return [dataclasses.replace(point, soft_weight=weight) for weight in others]
    octaves = [(-1) ** place / (2 + place // 2 * 2) for place in range(len(others))]
    return [dataclasses.replace(point, learning_rate=point.learning_rate * 2**octave) for octave in octaves]


def _mean_gains(tried: Tried) -> dict[str, float]:
    return {task: float(np.mean([gains[task] for gains in tried.gains])) for task in tried.gains[0]}


def _beats(other: dict[str, float], own: dict[str, float]) -> bool:
    return all(other[task] >= gain for task, gain in own.items()) and other != own
