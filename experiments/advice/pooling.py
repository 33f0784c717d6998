"""Pools each proposal's estimate with those of similar proposals (empirical Bayes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.advice.proposals import Proposal

Array = Any


def pool_scores(scores: Mapping[Proposal, Sequence[float]]) -> dict[Proposal, float]:
    """Shrinks each proposal's mean towards the prediction from its width, tasks, strategy and weight.

    The prediction is a linear model of the settings. Each proposal keeps a share of its deviation from the
    prediction. The share is large if scores vary little between seeds and proposals deviate much from the
    model. It is one half if no proposal has a second seed.

    Args:
        scores: for each proposal, one score for each seed from 0 upward: its criterion minus that of the
            control with the same seed.

    Reference: Efron and Morris, "Data analysis using Stein's estimator and its generalizations", JASA 1975.
    """
    proposals = list(scores)
    owner = np.repeat(np.arange(len(proposals)), [len(of_seeds) for of_seeds in scores.values()])
    seeds = np.concatenate([np.arange(len(of_seeds)) for of_seeds in scores.values()])
    values = np.concatenate([np.asarray(of_seeds, np.float64) for of_seeds in scores.values()])
    settings = _indicators(
        [(proposal.width,) for proposal in proposals],
        [(proposal.groups,) for proposal in proposals],
        [(proposal.strategy, proposal.weight) for proposal in proposals],
    )
    # All scores of a seed share the random error of its control.
    seed_indicators = np.eye(int(seeds.max()) + 1)[seeds]
    design = np.hstack([seed_indicators, settings[owner]])
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    residuals = values - design @ effects
    counts = np.bincount(owner)
    deviations = np.bincount(owner, residuals) / counts
    shares = _shares_kept(residuals - deviations[owner], deviations, counts, rank)
    level = float(effects[: seed_indicators.shape[1]] @ seed_indicators.mean(axis=0))
    means = level + settings @ effects[seed_indicators.shape[1] :] + shares * deviations
    return dict(zip(proposals, means.tolist(), strict=True))


def _indicators(*factors: Sequence[tuple[Any, ...]]) -> Array:
    """`[proposals, settings]` float64: a column for each value of each factor except the first value."""
    columns = [
        [1.0 if value == level else 0.0 for value in factor]
        for factor in factors
        for level in sorted(set(factor))[1:]
    ]
    return np.array(columns).reshape(len(columns), len(factors[0])).T


def _shares_kept(within: Array, deviations: Array, counts: Array, rank: int) -> Array:
    """`[proposals]`, in [0, 1]: the share of its own deviation that each proposal keeps."""
    degrees_of_freedom = len(within) - len(counts)
    if not degrees_of_freedom:
        return np.full(len(counts), 0.5)
    noise_variance = float(np.square(within).sum()) / degrees_of_freedom
    total_variance = float(np.square(deviations).sum()) / max(1, len(deviations) - rank)
    true_variance = max(0.0, total_variance - noise_variance * float(np.mean(1 / counts)))
    if not true_variance:
        return np.zeros(len(counts))
    return true_variance / (true_variance + noise_variance / counts)
