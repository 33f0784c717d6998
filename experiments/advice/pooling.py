"""What is known of a candidate, its like considered: one seed says little, thirty-five relatives say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.advice.candidates import Candidate

Array = Any


def pooled(scores: Mapping[Candidate, Sequence[float]]) -> dict[Candidate, float]:
    """Each candidate's mean, drawn towards what its width, tasks, strategy and weight give on average.

    How far depends on how much the scores of one candidate spread over seeds, and on how much candidates
    differ from what their settings explain; where no candidate has two seeds, half of the way.

    Args:
        scores: by candidate, one a seed, counted from 0; each is over the control with the same seed.

    Reference: Efron and Morris, "Data analysis using Stein's estimator and its generalizations", JASA 1975.
    """
    every = list(scores)
    owner = np.repeat(np.arange(len(every)), [len(scores[one]) for one in every])
    seeds = np.concatenate([np.arange(len(scores[one])) for one in every])
    values = np.concatenate([np.asarray(scores[one], np.float64) for one in every])
    settings = _indicators([(one.width,) for one in every], [(one.groups,) for one in every],
                           [(one.strategy, one.weight) for one in every])  # fmt: skip
    # A seed's own effect is the luck of its control.
    luck = np.eye(int(seeds.max()) + 1)[seeds]
    design = np.hstack([luck, settings[owner]])
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    residuals = values - design @ effects
    counts = np.bincount(owner)
    own = np.bincount(owner, residuals) / counts
    kept = _share_kept(residuals - own[owner], own, counts, rank)
    level = float(effects[: luck.shape[1]] @ luck.mean(axis=0))
    means = level + settings @ effects[luck.shape[1] :] + kept * own
    return dict(zip(every, means.tolist(), strict=True))


def _indicators(*factors: Sequence[tuple[Any, ...]]) -> Array:
    """`[candidates, settings]` float64, a column a value of each factor but for its first."""
    columns = [
        [1.0 if value == level else 0.0 for value in factor]
        for factor in factors
        for level in sorted(set(factor))[1:]
    ]
    return np.array(columns).reshape(len(columns), len(factors[0])).T


def _share_kept(within: Array, own: Array, counts: Array, rank: int) -> Array:
    """`[candidates]`: how much of its own deviation a candidate keeps."""
    freedom = len(within) - len(counts)
    if not freedom:
        return np.full(len(counts), 0.5)
    noise = float(np.square(within).sum()) / freedom
    between = float(np.square(own).sum()) / max(1, len(own) - rank)
    true = max(0.0, between - noise * float(np.mean(1 / counts)))
    return true / (true + noise / counts) if true else np.zeros(len(counts))
