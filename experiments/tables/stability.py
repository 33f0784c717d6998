"""Experiment `stability`: divergence rates of teachers with no, one or all stabilisers.

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
from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import STABILISERS, TeacherArm
from experiments.protocol.criterion import criterion
from experiments.statistics.comparison import ALL_SURFACES, SEEDS_ONLY, ResultRow
from experiments.statistics.influence import ratio
from experiments.statistics.intervals import Resamples
from experiments.trials.trial_result import TrialResult

Array = Any

LEARNING_RATE_FACTORS = (1, 2, 3, 4)
"""Multiples of the learning rate tuned for the teacher without stabilisers."""
WIDTH = 2.0
"""The width of every teacher, as a factor of the student's layer and embedding widths."""


def run(runner: ArmRunner) -> list[ResultRow]:
    """Tunes the teacher without stabilisers; runs all teachers at multiples of its learning rate.

    The runs end with the last tuning span. A run has diverged if its loss or a weight is not finite, or if
    `is_worse_than_base_rate` is True. One bad span is enough: a teacher publishes the labels of every span,
    and later spans do not correct them.

    Returns:
        For each teacher and learning rate, a row with the `divergence_rate` and a row with the mean
        `information_gain` of the runs that did not diverge.
    """
    naive = TeacherArm("naive", width=WIDTH, stabilisers=())
    runner.tune(naive)
    tuned_point = runner.choices[naive.name].point
    arms = [
        naive,
        *(TeacherArm(name, width=WIDTH, stabilisers=(name,)) for name in STABILISERS),
        TeacherArm("all", width=WIDTH),
    ]
    last_span, seeds = runner.protocol.tuning_spans[-1], range(runner.seeds)
    rows = []
    for factor in LEARNING_RATE_FACTORS:
        point = dataclasses.replace(tuned_point, learning_rate=factor * tuned_point.learning_rate)
        for arm in arms:
            results = runner.scheduler.run([runner.trial(arm, point, seed, last_span) for seed in seeds])
            criteria = [criterion(runner.gains(result)) for result in results]
            diverged = [
                bool(result.diverged) or is_worse_than_base_rate(runner, result) for result in results
            ]
            rows += result_rows(f"{arm.name} x{factor}", diverged, criteria)
    return rows


def is_worse_than_base_rate(runner: ArmRunner, result: TrialResult) -> bool:
    """True if a teacher's predictions for at least one span are worse than the base rates.

    The criterion of such a span is below 0, and so is its whole interval over resampled users. A criterion
    that is below 0 by chance is no divergence. The spans of the burn-in are checked too, except span 0: no
    training precedes it, so it has no predictions. Delayed tasks are left out, because the first spans have
    no labels of them. Tasks with too few labels in the span are left out too.
    """
    for span in range(1, runner.protocol.tuning_spans.stop):
        gain_by_task = {
            name: gain
            for name, gain in runner.gains(result, range(span, span + 1)).items()
            if not runner.deployment.tasks[name].delayed
        }
        if gain_by_task and criterion(gain_by_task) < 0:
            bounds = interval(_resampled_criterion(runner, result, span, list(gain_by_task)))
            if bounds is None or bounds[1] < 0:  # `bounds` is None if a prediction is not finite.
                return True
    return False


def _resampled_criterion(runner: ArmRunner, result: TrialResult, span: int, tasks: Sequence[str]) -> Array:
    """`[resamples]` float64 criteria of the predictions for a span: users are resampled, base rates fixed."""
    stream = runner.scheduler.stream
    where = stream.spans[result.rows] == span
    rows, span_predictions = result.rows[where], result.predictions[where]
    users, user_of_row = np.unique(stream.clusters[rows], return_inverse=True)
    relative_losses = []
    for name in tasks:
        labels = stream.labels[rows, stream.tasks.index(name)]
        labelled = ~np.isnan(labels)
        labels = labels[labelled]
        predictions = span_predictions[labelled, result.tasks.index(name)]
        kind = runner.deployment.tasks[name].kind
        losses_of = metrics.log_losses if kind == "binary" else metrics.squared_errors
        base_rate = np.full(len(labels), labels.mean(dtype=np.float64))
        losses, base_losses = losses_of(labels, predictions), losses_of(labels, base_rate)
        relative_losses.append([ratio(losses, base_losses, user_of_row[labelled], len(users))])
    resamples = Resamples(len(users), num_seeds=1, num_resamples=runner.protocol.resamples, seed=0)
    return 1 - resamples.replicates(relative_losses).mean(axis=1)


def result_rows(arm: str, diverged: Sequence[bool], criteria: Sequence[float]) -> list[ResultRow]:
    """The two rows of an arm: `divergence_rate` of all runs, `information_gain` of the others.

    Args:
        arm: name of the arm.
        diverged: for each run, whether it has diverged.
        criteria: for each run, the mean information gain over the tasks.
    """
    low, high = wilson_interval(sum(diverged), len(diverged))
    rate = ResultRow(
        "stability", arm, ALL_SURFACES, "all", "divergence_rate", len(diverged), float(np.mean(diverged)),
        low, high, interval=SEEDS_ONLY,
    )  # fmt: skip
    converged = [gain for gain, has_diverged in zip(criteria, diverged, strict=True) if not has_diverged]
    mean = float(np.mean(converged)) if converged else None
    gain = dataclasses.replace(
        rate, metric="information_gain", seeds=len(converged), mean=mean, low=None, high=None
    )
    return [rate, gain]


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The confidence interval of `successes / trials`, also valid for few trials.

    Reference: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    bounds = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(bounds.low), float(bounds.high)
