"""Successive halving under a budget: many candidates with little evidence each, then few with more.

Reference: Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True)
class Rung(Generic[C]):
    """One round.

    Attributes:
        scores: what is thought of each candidate after it, the best first.
        seconds: what the round took.
    """

    scores: dict[C, float]
    seconds: float


def halve(
    candidates: Sequence[C],
    measure: Callable[[Sequence[tuple[C, int]]], list[float]],
    estimate: Callable[[Mapping[C, Sequence[float]]], Mapping[C, float]],
    forecast: Callable[[Sequence[tuple[C, int]]], float],
    seconds_left: Callable[[], float],
    seconds_spent: Callable[[], float],
) -> list[Rung[C]]:
    """Rounds until one candidate is left or the budget does not allow another.

    Args:
        candidates: the first is kept in the first round whatever it scores: it is what would be done without
            advice.
        measure: scores of (candidate, seed) pairs, higher is better.
        estimate: what to think of candidates, given all scores so far, one a seed; of those that are out too.
        forecast: seconds that `measure` will take, going by what it has taken.
        seconds_left: of the budget.
        seconds_spent: since the beginning.

    Returns:
        The rounds; the first always takes place.
    """
    rungs: list[Rung[C]] = []
    scores: dict[C, tuple[float, ...]] = dict.fromkeys(candidates, ())
    left, seeds = list(candidates), 1
    asked = [(one, 0) for one in left]
    while True:
        began = seconds_spent()
        for (one, _), score in zip(asked, measure(asked), strict=True):
            scores[one] = (*scores[one], score)
        thought = estimate(scores)
        left = sorted(left, key=lambda one: -thought[one])
        rungs.append(Rung({one: thought[one] for one in left}, seconds_spent() - began))
        if len(left) == 1:
            return rungs
        left = left[: len(left) // 2]
        if len(rungs) == 1 and candidates[0] not in left:
            left[-1] = candidates[0]
        seeds *= 2
        asked = [(one, seed) for one in left for seed in range(len(scores[one]), seeds)]
        if forecast(asked) > seconds_left():
            return rungs
