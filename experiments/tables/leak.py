"""Leak: the share of a known bias of the soft labels that the student's served head repeats.

The slices (the values of one feature) are split at random into two halves. The bias is added to the soft
labels of the first half and subtracted from those of the second half.

    contrast           a model's mean (prediction - label) on the first half minus that on the second half
    injected contrast  the increase of the teacher's contrast by the bias
    leak               (contrast of the arm - contrast of the control) / injected contrast

Seeds 2k and 2k + 1 have swapped halves, so that errors of a model that do not come from the bias cancel out.

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
"""In logits for a binary task, in standard deviations of the hard labels for a regression task."""


def run(
    runner: ArmRunner, arms: Mapping[str, Sequence[TrialResult]], students: Sequence[StudentArm]
) -> list[ResultRow]:
    """Runs the students with biased labels; measures the leak of students with and without bias.

    Args:
        runner: has tuned and run `arms`.
        arms: for each arm, one result for each seed; includes the control, the students and their teacher.
        students: students of one teacher. With bias, `leak_less_half` is the leak of each other student minus
            half the leak of the first.

    Returns:
        Rows `leak` and `leak_less_half`, over all distilled tasks and for each task. The expected leak of a
        student without bias is 0.
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
    """Measures the leak of arms on the reporting spans, over all surfaces.

    Args:
        runner: gives the stream and the protocol.
        arms: for each arm, one result for each seed; includes the control and the teacher.
        teacher: name of the arm whose predictions, with the bias, are the soft labels.
    """

    def __init__(self, runner: ArmRunner, arms: Mapping[str, Sequence[TrialResult]], teacher: str) -> None:
        self._stream = runner.scheduler.stream
        self._arms = arms
        self._tasks = runner.deployment.tasks
        self._teacher = arms[teacher]
        self._labels = self._stream.known_labels()
        feature = runner.protocol.require_slice_feature()
        self._signs = [slice_signs(self._stream, feature, seed) for seed in range(runner.seeds)]
        self._spans = runner.protocol.reporting_spans
        num_resamples = runner.protocol.resamples
        self._resamples = Resamples(self._stream.num_clusters, runner.seeds, num_resamples, seed=0)

    def leak(self, name: str, tasks: Sequence[str]) -> ResultRow:
        """A row with the leak of an arm: the mean over `tasks`."""
        return self._row(name, "leak", tasks, (name, CONTROL.name), difference)

    def leak_minus_half_of(self, name: str, other: str, tasks: Sequence[str]) -> ResultRow:
        """A row with the leak of arm `name` minus half the leak of arm `other`: the mean over `tasks`."""

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
        shares = [self._contrast_shares(arm, tasks) for arm in arms]
        estimate = self._resamples.estimate(shares, combine, self._resamples.replicates(shares))
        low, high = estimate.users_and_seeds or (None, None)
        return ResultRow(
            "strategy", name, ALL_SURFACES, tasks[0] if len(tasks) == 1 else ALL_TASKS, metric,
            len(shares[0]), float(estimate.value), low, high, interval=USERS_AND_SEEDS,
        )  # fmt: skip

    def _contrast_shares(self, name: str, tasks: Sequence[str]) -> list[MetricValue]:
        """For each seed, contrast / injected contrast: the mean over `tasks`."""
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
        """The contrast of one task on `rows`.

        Args:
            rows: `[rows]` indices in the stream.
            predictions: `[rows]` float; rows with NaN are left out, like rows without a label.
            task: name of the task.
            seed: seed of the trial, which decides the halves.
        """
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
        """The increase of the teacher's contrast on task `name` by `BIAS`, over the reported rows."""
        task, teacher = self._tasks[name], self._teacher[seed]
        where = self._is_reported(teacher.rows)
        predictions, signs = teacher.columns((name,))[where, 0], self._signs[seed][teacher.rows[where]]
        shift = BIAS * bias_unit(self._stream, name, task) * signs
        change = (shift_predictions(predictions, shift, task) - predictions).astype(np.float64)
        return float(change[signs > 0].mean() - change[signs < 0].mean())

    def _is_reported(self, rows: Array) -> Array:
        spans = self._stream.spans[rows]
        return (spans >= self._spans.start) & (spans < self._spans.stop)
