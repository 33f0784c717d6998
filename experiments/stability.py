"""How often a teacher diverges, with each stabiliser on and off, at rising learning rates.

Reference: Tang et al., Clippy, arXiv 2302.09178, section 5; Khani et al., RecSys '24 (stabilisers).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation.bootstrap import CONFIDENCE
from experiments.arms import STABILISERS, TeacherArm
from experiments.comparison import ALL_SURFACES, SEEDS, Row
from experiments.criterion import criterion
from experiments.laboratory import Laboratory
from experiments.outcome import Outcome

Array = Any

FACTORS = (1, 2, 3, 4)
"""Of the naive teacher's own tuned learning rate."""
WIDTH = 2.0


def run(laboratory: Laboratory) -> list[Row]:
    """Tunes the naive teacher, then runs it and the stabilised ones up to the end of the tuning stretch.

    A run has diverged if its loss or a weight is no longer finite, or if in some span it knew less than the
    base rates: an online teacher's labels go out every span, and one bad day is not made good by later ones.
    """
    naive = TeacherArm("naive", width=WIDTH, stabilisers=())
    laboratory.tune(naive)
    best = laboratory.choices[naive.name].point
    arms = [
        naive,
        *(TeacherArm(name, width=WIDTH, stabilisers=(name,)) for name in STABILISERS),
        TeacherArm("all", width=WIDTH),
    ]
    last, seeds = laboratory.experiment.tuning_spans[-1], range(laboratory.seeds)
    rows = []
    for factor in FACTORS:
        point = dataclasses.replace(best, learning_rate=factor * best.learning_rate)
        for arm in arms:
            kept = laboratory.schedule.run([laboratory.trial(arm, point, seed, last) for seed in seeds])
            gains = [criterion(laboratory.gains(outcome)) for outcome in kept]
            diverged = [bool(outcome.diverged) or worst_span(laboratory, outcome) < 0 for outcome in kept]
            rows += _rows(f"{arm.name} x{factor}", diverged, gains)
    return rows


def worst_span(laboratory: Laboratory, outcome: Outcome) -> float:
    """The least criterion of the spans that were scored, burn-in included.

    Without delayed tasks, of which nothing can be known in the first spans.
    """
    delayed = {name for name, task in laboratory.deployment.tasks.items() if task.delayed}

    def of_span(span: int) -> float:
        gains = laboratory.gains(outcome, range(span, span + 1))
        return criterion({name: gain for name, gain in gains.items() if name not in delayed})

    return min(map(of_span, range(1, laboratory.experiment.tuning_spans.stop)))


def _rows(arm: str, diverged: list[bool], gains: list[float]) -> list[Row]:
    low, high = wilson(sum(diverged), len(diverged))
    rate = Row(
        "stability", arm, ALL_SURFACES, "all", "divergence_rate", len(diverged), float(np.mean(diverged)),
        low, high, interval=SEEDS,
    )  # fmt: skip
    survived = [gain for gain, gone in zip(gains, diverged, strict=True) if not gone]
    mean = float(np.mean(survived)) if survived else None
    gain = dataclasses.replace(rate, metric="information_gain", mean=mean, low=None, high=None)
    return [rate, gain]


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The interval of a share of few trials.

    Reference: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    found = stats.binomtest(hits, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
