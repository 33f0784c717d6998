"""Successive halving under a budget: many candidates with little evidence each, then few with more.

Reference: Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True)
class Rung(Generic[C]):
    """One round.

    Attributes:
        scores: by candidate, one a seed so far, best mean first.
        seconds: what the round took.
    """

    scores: dict[C, tuple[float, ...]]
    seconds: float


def halve(
    candidates: Sequence[C],
    measure: Callable[[Sequence[tuple[C, int]]], list[float]],
    seconds_left: Callable[[], float],
    seconds_spent: Callable[[], float],
) -> list[Rung[C]]:
    """Rounds until one candidate is left or the budget does not allow another.

    Args:
        candidates: the first is kept in the first round whatever it scores: it is what would be done without
            advice.
        measure: scores of (candidate, seed) pairs, higher is better.
        seconds_left: of the budget.
        seconds_spent: since the beginning.

    Returns:
        The rounds; the first always takes place.
    """
    rungs: list[Rung[C]] = []
    scores: dict[C, tuple[float, ...]] = dict.fromkeys(candidates, ())
    seeds = 1
    while True:
        began = seconds_spent()
        asked = [(one, len(had) + more) for one, had in scores.items() for more in range(seeds - len(had))]
        for (one, _), score in zip(asked, measure(asked), strict=True):
            scores[one] = (*scores[one], score)
        scores = dict(sorted(scores.items(), key=lambda item: -float(np.mean(item[1]))))
        seconds = seconds_spent() - began
        rungs.append(Rung(dict(scores), seconds))
        kept = list(scores)[: max(1, len(scores) // 2)]
        if len(rungs) == 1 and candidates[0] not in kept:
            kept[-1] = candidates[0]
        # The next round asks half as many candidates for as many seeds again.
        if len(scores) == 1 or seconds > seconds_left():
            return rungs
        scores = {one: scores[one] for one in kept}
        seeds *= 2
