"""Successive halving under a time budget: each round keeps the better half and doubles the seeds.

Half of an odd number is rounded down. The first round also keeps the paper's advice.

Reference: Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

ProposalT = TypeVar("ProposalT", bound=Hashable)


@dataclass(frozen=True)
class Round(Generic[ProposalT]):
    """One round of successive halving.

    Attributes:
        scores: estimates of the proposals that the round measured, the best first.
        seconds: duration of the round.
    """

    scores: dict[ProposalT, float]
    seconds: float


def halve(
    proposals: Sequence[ProposalT],
    measure: Callable[[Sequence[tuple[ProposalT, int]]], list[float]],
    estimate: Callable[[Mapping[ProposalT, Sequence[float]]], Mapping[ProposalT, float]],
    forecast: Callable[[Sequence[tuple[ProposalT, int]]], float],
    seconds_left: Callable[[], float],
    seconds_spent: Callable[[], float],
) -> list[Round[ProposalT]]:
    """Halves the proposals until one is left or the rest of the budget is too small for another round.

    Args:
        proposals: the first is the paper's advice. The first round keeps it, whatever its score. If it is
            outside the better half, it replaces the worst proposal of that half, but never the best proposal.
        measure: returns the scores of (proposal, seed) pairs; higher is better.
        estimate: takes each proposal's scores so far, one per seed, also those of dropped proposals; returns
            an estimate for each proposal.
        forecast: returns the seconds that `measure` will need for (proposal, seed) pairs.
        seconds_left: returns the rest of the budget, in seconds.
        seconds_spent: returns the seconds since the start of the search.

    Returns:
        The rounds in order. The first round runs regardless of the budget.
    """
    rounds: list[Round[ProposalT]] = []
    scores: dict[ProposalT, tuple[float, ...]] = dict.fromkeys(proposals, ())
    remaining, seeds = list(proposals), 1
    pairs = [(proposal, 0) for proposal in remaining]
    while True:
        started = seconds_spent()
        for (proposal, _), score in zip(pairs, measure(pairs), strict=True):
            scores[proposal] = (*scores[proposal], score)
        estimates = estimate(scores)
        remaining = sorted(remaining, key=lambda proposal: -estimates[proposal])
        round_scores = {proposal: estimates[proposal] for proposal in remaining}
        rounds.append(Round(round_scores, seconds_spent() - started))
        if len(remaining) == 1:
            return rounds
        remaining = remaining[: len(remaining) // 2]
        if len(rounds) == 1 and proposals[0] not in remaining:
            remaining = [*remaining[: max(1, len(remaining) - 1)], proposals[0]]
        seeds *= 2
        pairs = [(proposal, seed) for proposal in remaining for seed in range(len(scores[proposal]), seeds)]
        if forecast(pairs) > seconds_left():
            return rounds
