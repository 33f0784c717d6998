"""Successive halving under a time budget: each round keeps the better half and doubles the seeds.

Reference: Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True)
class Rung(Generic[P]):
    """One round of successive halving.

    Attributes:
        scores: estimate of each remaining proposal after the round, the best first.
        seconds: duration of the round.
    """

    scores: dict[P, float]
    seconds: float


def halve(
    proposals: Sequence[P],
    measure: Callable[[Sequence[tuple[P, int]]], list[float]],
    estimate: Callable[[Mapping[P, Sequence[float]]], Mapping[P, float]],
    forecast: Callable[[Sequence[tuple[P, int]]], float],
    seconds_left: Callable[[], float],
    seconds_spent: Callable[[], float],
) -> list[Rung[P]]:
    """Halves the proposals until one is left or the budget does not allow another round.

    Args:
        proposals: the first is the paper's advice; the first round keeps it, whatever its score.
        measure: returns the scores of (proposal, seed) pairs; higher is better.
        estimate: returns an estimate for each proposal. Its argument has all scores so far, one per seed,
            also of dropped proposals.
        forecast: returns the seconds that `measure` will need for these pairs.
        seconds_left: returns the rest of the budget.
        seconds_spent: returns the seconds since the start.

    Returns:
        The rounds; the first runs regardless of the budget.
    """
    rungs: list[Rung[P]] = []
    scores: dict[P, tuple[float, ...]] = dict.fromkeys(proposals, ())
    remaining, seeds = list(proposals), 1
    pairs = [(proposal, 0) for proposal in remaining]
    while True:
        started = seconds_spent()
        for (proposal, _), score in zip(pairs, measure(pairs), strict=True):
            scores[proposal] = (*scores[proposal], score)
        estimates = estimate(scores)
        remaining = sorted(remaining, key=lambda proposal: -estimates[proposal])
        ranking = {proposal: estimates[proposal] for proposal in remaining}
        rungs.append(Rung(ranking, seconds_spent() - started))
        if len(remaining) == 1:
            return rungs
        remaining = remaining[: len(remaining) // 2]
        if len(rungs) == 1 and proposals[0] not in remaining:
            remaining[-1] = proposals[0]
        seeds *= 2
        pairs = [(proposal, seed) for proposal in remaining for seed in range(len(scores[proposal]), seeds)]
        if forecast(pairs) > seconds_left():
            return rungs
