"""Pools each proposal's estimate with those of similar proposals (empirical Bayes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.advice.proposals import Proposal

Array = Any


def pool_scores(scores: Mapping[Proposal, Sequence[float]]) -> dict[Proposal, float]:
    """Shrinks each proposal's mean score towards a prediction from its width, tasks, strategy and weight.

    A linear model of these settings makes the prediction. Each proposal keeps a share of its deviation from
    the prediction. The share is large if scores vary little between seeds and proposals deviate much from the
    prediction. The share is one half if no proposal has a second seed.

    Args:
        scores: for each proposal, one score for each seed from 0 on: the proposal's criterion minus the
            control's criterion with the same seed.

    Returns:
        The estimated score of each proposal.

    Reference: Efron and Morris, "Data analysis using Stein's estimator and its generalizations", JASA 1975.
    """
    proposals = list(scores)
    proposal_of_score = np.repeat(np.arange(len(proposals)), [len(by_seed) for by_seed in scores.values()])
    seeds = np.concatenate([np.arange(len(by_seed)) for by_seed in scores.values()])
    values = np.concatenate([np.asarray(by_seed, np.float64) for by_seed in scores.values()])
    settings = _indicators(
        [(proposal.width,) for proposal in proposals],
        [(proposal.groups,) for proposal in proposals],
        [(proposal.strategy, proposal.weight) for proposal in proposals],
    )
    # All scores of a seed share the random error of its control.
    seed_indicators = np.eye(int(seeds.max()) + 1)[seeds]
    design = np.hstack([seed_indicators, settings[proposal_of_score]])
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    residuals = values - design @ effects
    counts = np.bincount(proposal_of_score)
    deviations = np.bincount(proposal_of_score, residuals) / counts
    shares = _shares_kept(residuals - deviations[proposal_of_score], deviations, counts, rank)
    mean_over_seeds = float(effects[: seed_indicators.shape[1]] @ seed_indicators.mean(axis=0))
    estimates = mean_over_seeds + settings @ effects[seed_indicators.shape[1] :] + shares * deviations
    return dict(zip(proposals, estimates.tolist(), strict=True))


def _indicators(*factors: Sequence[tuple[Any, ...]]) -> Array:
    """Indicator columns of the settings, for the linear model.

    Args:
        factors: for each factor (one or two settings), a tuple of its settings for each proposal.

    Returns:
        `[proposals, columns]` float64: a column for each value of a factor except its smallest.
    """
    columns = [
        [1.0 if value == column_value else 0.0 for value in factor]
        for factor in factors
        for column_value in sorted(set(factor))[1:]
    ]
    return np.array(columns).reshape(len(columns), len(factors[0])).T


def _shares_kept(within: Array, deviations: Array, counts: Array, rank: int) -> Array:
    """The share of its deviation that each proposal keeps.

    Args:
        within: `[scores]` residuals of the linear model, minus the mean residual of their proposal.
        deviations: `[proposals]` mean residuals.
        counts: `[proposals]` number of scores.
        rank: number of independent parameters of the linear model.

    Returns:
        `[proposals]` float64 in [0, 1].
    """
    degrees_of_freedom = len(within) - len(counts)
    if not degrees_of_freedom:
        return np.full(len(counts), 0.5)
    noise_variance = float(np.square(within).sum()) / degrees_of_freedom
    total_variance = float(np.square(deviations).sum()) / max(1, len(deviations) - rank)
    true_variance = max(0.0, total_variance - noise_variance * float(np.mean(1 / counts)))
    if not true_variance:
        return np.zeros(len(counts))
    return true_variance / (true_variance + noise_variance / counts)
