"""Bias leak: the share of a known bias in the soft labels that appears in the student's served head.

The slices are the values of one feature, split at random into two halves. A bias is added to the soft labels
of the first half and subtracted from those of the second.

    contrast  a model's mean signed error on the first half minus that on the second
    leak      (contrast of the arm - contrast of the control) / contrast that the bias adds to the labels

Seeds come in pairs with swapped halves, so that a model's other errors on a slice cancel out.

Reference: Khani et al., RecSys '24, on the bias that leaks under direct distillation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm
from experiments.statistics.comparison import ALL_SURFACES, ALL_TASKS, USERS_AND_SEEDS, ResultRow
from experiments.statistics.influence import MetricValue, ratio
from experiments.statistics.intervals import Resamples, difference
from experiments.trials.soft_labels import bias_unit, shift_predictions, slice_signs
from experiments.trials.trial_result import TrialResult

Array = Any

BIAS = 1.0
"""In logits for a binary task, in standard deviations of the hard labels for a regression."""


def run(
    runner: ArmRunner, arms: Mapping[str, Sequence[TrialResult]], students: Sequence[StudentArm]
) -> list[ResultRow]:
    """Runs the students with biased labels; measures the leak with the bias, and without it (expected: 0).

    Args:
        runner: has tuned the arms.
        arms: results of control, teacher and students, without bias.
        students: students of the same teacher; the first one's leak is the reference for the others.
    """
    biased = [
        dataclasses.replace(arm, name=f"{arm.name}@bias", bias=BIAS, hyperparameters_of=arm.name)
        for arm in students
    ]
    measurement = LeakMeasurement(runner, dict(arms) | runner.run(biased), students[0].teacher)
    distilled = tuple(runner.deployment.student.distillation)
    rows: list[ResultRow] = []
    for tasks in (distilled, *((task,) for task in distilled)):
        rows += [measurement.leak(arm.name, tasks) for arm in (*students, *biased)]
        rows += [measurement.leak_minus_half_of(arm.name, biased[0].name, tasks) for arm in biased[1:]]
    return rows


class LeakMeasurement:
    """Measures the leak of arms over all surfaces.

    Args:
        runner: has the stream and the protocol.
        arms: for each arm, one result for each seed; includes the control.
        teacher: name of the arm whose predictions were biased.
    """

    def __init__(self, runner: ArmRunner, arms: Mapping[str, Sequence[TrialResult]], teacher: str) -> None:
        self._stream = runner.scheduler.stream
        self._arms = arms
        self._tasks = runner.deployment.tasks
        self._teacher = arms[teacher]
        self._labels = self._stream.known_labels()
        feature = runner.protocol.slice_feature
        self._signs = [slice_signs(self._stream, feature, seed) for seed in range(runner.seeds)]
        self._spans = runner.protocol.reporting_spans
        draws = runner.protocol.resamples
        self._resamples = Resamples(self._stream.num_clusters, runner.seeds, draws, seed=0)

    def leak(self, name: str, tasks: Sequence[str]) -> ResultRow:
        """The leak of an arm, as the mean over `tasks`."""
        return self._row(name, "leak", tasks, (name, CONTROL.name), difference)

    def leak_minus_half_of(self, name: str, other: str, tasks: Sequence[str]) -> ResultRow:
        """The leak of arm `name` minus half the leak of arm `other`."""

        def minus_half_of(arms: Array) -> Array:
            leak, other_leak = arms[..., 0] - arms[..., 2], arms[..., 1] - arms[..., 2]
            return leak - other_leak / 2

        row = self._row(name, "leak_less_half", tasks, (name, other, CONTROL.name), minus_half_of)
        return dataclasses.replace(row, versus=other)

    def _row(
        self,
        name: str,
        metric: str,
        tasks: Sequence[str],
        arms: Sequence[str],
        combine: Callable[[Array], Array],
    ) -> ResultRow:
        contrasts = [self._contrast_shares(arm, tasks) for arm in arms]
        estimate = self._resamples.estimate(contrasts, combine, self._resamples.replicates(contrasts))
        low, high = estimate.users_and_seeds or (None, None)
        return ResultRow(
            "strategy", name, ALL_SURFACES, tasks[0] if len(tasks) == 1 else ALL_TASKS, metric,
            len(contrasts[0]), float(estimate.value), low, high, interval=USERS_AND_SEEDS,
        )  # fmt: skip

    def _contrast_shares(self, name: str, tasks: Sequence[str]) -> list[MetricValue]:
        """For each seed, the mean over tasks of the contrast divided by the injected contrast."""
        means = []
        for seed, result in enumerate(self._arms[name]):
            shares = []
            for task in tasks:
                contrast = self._contrast(result.rows, result.columns((task,))[:, 0], task, seed)
                injected = self._injected_contrast(task, seed)
                shares.append((contrast.value / injected, contrast.influence / injected))
            values, influences = zip(*shares, strict=True)
            means.append(MetricValue(float(np.mean(values)), np.mean(influences, axis=0)))
        return means

    def _contrast(self, rows: Array, predictions: Array, task: str, seed: int) -> MetricValue:
        """Mean signed error on slices with sign +1 minus that on slices with sign -1."""
        labels = self._labels[rows, self._stream.tasks.index(task)]
        where = ~np.isnan(labels) & ~np.isnan(predictions) & self._is_reported(rows)
        rows, error = rows[where], (predictions - labels)[where].astype(np.float64)
        halves = []
        for sign in (1, -1):
            in_half = (self._signs[seed][rows] == sign).astype(np.float64)
            clusters = self._stream.clusters[rows]
            halves.append(ratio(error * in_half, in_half, clusters, self._stream.num_clusters))
        return MetricValue(halves[0].value - halves[1].value, halves[0].influence - halves[1].influence)

    def _injected_contrast(self, name: str, seed: int) -> float:
        """The contrast that `BIAS` adds to the teacher's labels, over the reported rows."""
        task, teacher = self._tasks[name], self._teacher[seed]
        where = self._is_reported(teacher.rows)
        predictions, signs = teacher.columns((name,))[where, 0], self._signs[seed][teacher.rows[where]]
        shift = BIAS * bias_unit(self._stream, name, task) * signs
        change = (shift_predictions(predictions, shift, task) - predictions).astype(np.float64)
        return float(change[signs > 0].mean() - change[signs < 0].mean())

    def _is_reported(self, rows: Array) -> Array:
        spans = self._stream.spans[rows]
        return (spans >= self._spans.start) & (spans < self._spans.stop)
