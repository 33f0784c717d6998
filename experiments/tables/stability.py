"""How often a teacher diverges, with each stabiliser on and off, at rising learning rates.

Reference: Tang et al., Clippy, arXiv 2302.09178, section 5; Khani et al., RecSys '24 (stabilisers).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from components.evaluation import metrics
from components.evaluation.bootstrap import CONFIDENCE, interval
from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import STABILISERS, TeacherArm
from experiments.protocol.criterion import criterion
from experiments.statistics.comparison import ALL_SURFACES, SEEDS, Row
from experiments.statistics.influence import ratio
from experiments.statistics.intervals import Resamples
from experiments.trials.trial_result import Outcome

Array = Any

FACTORS = (1, 2, 3, 4)
"""Of the naive teacher's own tuned learning rate."""
WIDTH = 2.0


def run(laboratory: Laboratory) -> list[Row]:
    """Tunes the naive teacher, then runs it and the stabilised ones up to the end of the tuning stretch.

    A run has diverged if its loss or a weight is no longer finite, or if in some span it knew less than the
    base rates, beyond what other users might show: an online teacher's labels go out every span, and one bad
    day is not made good by later ones.
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
            diverged = [bool(outcome.diverged) or knew_less(laboratory, outcome) for outcome in kept]
            rows += _rows(f"{arm.name} x{factor}", diverged, gains)
    return rows


def knew_less(laboratory: Laboratory, outcome: Outcome) -> bool:
    """Whether in some span that was scored, burn-in included, a teacher knew less than the base rates.

    By the criterion, and for other users too: its interval lies below 0. What other users might undo, such as
    a first day after which little is known yet, is no divergence. Delayed tasks do not count: nothing can be
    known of them in the first spans.
    """
    for span in range(1, laboratory.experiment.tuning_spans.stop):
        known = {
            name: gain
            for name, gain in laboratory.gains(outcome, range(span, span + 1)).items()
            if not laboratory.deployment.tasks[name].delayed
        }
        if known and criterion(known) < 0:
            bounds = interval(_resampled(laboratory, outcome, span, list(known)))
            if bounds is None or bounds[1] < 0:  # None: some prediction is no number.
                return True
    return False


def _resampled(laboratory: Laboratory, outcome: Outcome, span: int, tasks: Sequence[str]) -> Array:
    """`[resamples]` criteria of a span's predictions, its users resampled and its base rates as they are."""
    stream = laboratory.schedule.stream
    where = stream.spans[outcome.rows] == span
    rows, predictions = outcome.rows[where], outcome.predictions[where]
    users, user_of_row = np.unique(stream.clusters[rows], return_inverse=True)
    shares = []
    for name in tasks:
        labels = stream.labels[rows, stream.tasks.index(name)]
        known = ~np.isnan(labels)
        labels, said = labels[known], predictions[known, outcome.tasks.index(name)]
        kind = laboratory.deployment.tasks[name].kind
        per_row = metrics.log_losses if kind == "binary" else metrics.squared_errors
        base_rate = np.full(len(labels), labels.mean(dtype=np.float64))
        losses, base_losses = per_row(labels, said), per_row(labels, base_rate)
        shares.append([ratio(losses, base_losses, user_of_row[known], len(users))])
    resamples = Resamples(len(users), num_seeds=1, draws=laboratory.experiment.resamples, seed=0)
    return 1 - resamples.replicates(shares).mean(axis=1)


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
