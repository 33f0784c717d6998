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
    seconds_left: Callable[[], float],
    seconds_spent: Callable[[], float],
) -> list[Rung[C]]:
    """Rounds until one candidate is left or the budget does not allow another.

    Args:
        candidates: the first is kept in the first round whatever it scores: it is what would be done without
            advice.
        measure: scores of (candidate, seed) pairs, higher is better.
        estimate: what to think of candidates, given all scores so far, one a seed; of those that are out too.
        seconds_left: of the budget.
        seconds_spent: since the beginning.

    Returns:
        The rounds; the first always takes place.
    """
    rungs: list[Rung[C]] = []
    scores: dict[C, tuple[float, ...]] = dict.fromkeys(candidates, ())
    left, seeds = list(candidates), 1
    while True:
        began = seconds_spent()
        asked = [(one, seed) for one in left for seed in range(len(scores[one]), seeds)]
        for (one, _), score in zip(asked, measure(asked), strict=True):
            scores[one] = (*scores[one], score)
        thought = estimate(scores)
        left = sorted(left, key=lambda one: -thought[one])
        seconds = seconds_spent() - began
        rungs.append(Rung({one: thought[one] for one in left}, seconds))
        # The next round asks half as many candidates for as many seeds again, which takes no longer a score.
        next_seconds = seconds * (len(left) // 2) * seeds / len(asked)
        if len(left) == 1 or next_seconds > seconds_left():
            return rungs
        left = left[: len(left) // 2]
        if len(rungs) == 1 and candidates[0] not in left:
            left[-1] = candidates[0]
        seeds *= 2
