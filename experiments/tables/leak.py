"""How much of a teacher's bias is found again in its student.

A dial adds a known bias to the labels of half of the slices and takes it from the rest. What a model's
signed calibration error differs by between the two halves, over what the control's does, is the bias that
has leaked; divided by what was injected into the labels, the share of it. Every two seeds turn the signs
round: what models have wrong by the hour in any case is no leak, and cancels out.

Reference: Khani et al., RecSys '24, on the bias that leaks under direct distillation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL, StudentArm
from experiments.statistics.comparison import ALL_SURFACES, ALL_TASKS, BOTH, Row
from experiments.statistics.influence import Figure, ratio
from experiments.statistics.intervals import Resamples, difference
from experiments.trials.soft_labels import shifted, slice_signs
from experiments.trials.trial_result import Outcome

Array = Any

DIAL = 1.0
"""Logits, or standard deviations of a regression's labels."""
ARMS = ("direct", "auxiliary-logit", "auxiliary-tower")


def run(laboratory: Laboratory, arms: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """Leak with the dial up and with the dial at 0, and auxiliary's against half of direct's.

    Args:
        laboratory: has tuned the arms.
        arms: the outcomes of control and of `ARMS`, the dial at 0.
    """
    teacher = next(iter(laboratory.teachers))
    biased = [_biased(name, teacher) for name in ARMS]
    measure = Measure(laboratory, dict(arms) | laboratory.run_students(biased))
    distilled = tuple(laboratory.deployment.student.distillation)
    rows: list[Row] = []
    for tasks in (distilled, *((task,) for task in distilled)):
        rows += [measure.leak(name, tasks) for name in (*ARMS, *(arm.name for arm in biased))]
        rows += [
            measure.against_half(f"{name}@bias", "direct@bias", tasks) for name in ARMS if name != "direct"
        ]
    return rows


def _biased(name: str, teacher: str) -> StudentArm:
    strategy = "direct" if name == "direct" else "auxiliary"
    head = "tower" if name == "auxiliary-tower" else "logit"
    return StudentArm(f"{name}@bias", teacher=teacher, strategy=strategy, head=head, bias=DIAL, like=name)  # type: ignore[arg-type]


class Measure:
    """The leak of tasks, over all surfaces.

    Args:
        laboratory: names stream, stretch and slices.
        arms: outcomes by name, by seed; the first teacher and the control among them.
    """

    def __init__(self, laboratory: Laboratory, arms: Mapping[str, Sequence[Outcome]]) -> None:
        self._stream = laboratory.schedule.stream
        self._arms = arms
        self._tasks = laboratory.deployment.tasks
        self._teacher = arms[next(iter(laboratory.teachers))]
        self._known = self._stream.known_labels()
        feature = laboratory.experiment.slice_feature
        self._signs = [slice_signs(self._stream, feature, seed) for seed in range(laboratory.seeds)]
        self._spans = laboratory.experiment.reporting_spans
        self._clusters = int(self._stream.clusters.max()) + 1
        draws = laboratory.experiment.resamples
        self._resamples = Resamples(self._clusters, laboratory.seeds, draws, seed=0)

    def leak(self, name: str, tasks: Sequence[str]) -> Row:
        """The contrast of an arm less the control's, in shares of what the dial at `DIAL` injects.

        Args:
            name: the arm.
            tasks: of several, the mean.
        """
        return self._row(name, "leak", tasks, (name, CONTROL.name), difference)

    def against_half(self, name: str, other: str, tasks: Sequence[str]) -> Row:
        """The arm's leak less half of the other's: below 0, it leaks less than half as much."""

        def less_half(arms: Array) -> Array:
            own, others = arms[..., 0] - arms[..., 2], arms[..., 1] - arms[..., 2]
            return own - others / 2

        row = self._row(name, "leak_less_half", tasks, (name, other, CONTROL.name), less_half)
        return dataclasses.replace(row, versus=other)

    def _row(self, name: str, metric: str, tasks: Sequence[str], arms: Sequence[str], combine: Any) -> Row:
        figures = [self._contrasts(arm, tasks) for arm in arms]
        estimate = self._resamples.estimate(figures, combine, self._resamples.replicates(figures))
        low, high = estimate.both or (None, None)
        return Row(
            "strategy", name, ALL_SURFACES, tasks[0] if len(tasks) == 1 else ALL_TASKS, metric,
            len(figures[0]), float(estimate.value), low, high, interval=BOTH,
        )  # fmt: skip

    def _contrasts(self, name: str, tasks: Sequence[str]) -> list[Figure]:
        """By seed: the mean over tasks of the contrasts, each in shares of the one injected."""
        means = []
        for seed, kept in enumerate(self._arms[name]):
            shares = []
            for task in tasks:
                found = self._contrast(kept.rows, kept.columns((task,))[:, 0], task, seed)
                injected = self._injected(task, seed)
                shares.append(Figure(found.value / injected, found.influence / injected))
            means.append(
                Figure(
                    float(np.mean([share.value for share in shares])),
                    np.mean([share.influence for share in shares], axis=0),
                )
            )
        return means

    def _contrast(self, rows: Array, predictions: Array, task: str, seed: int) -> Figure:
        """Mean signed error where the dial adds, less the same where it takes away."""
        labels = self._known[rows, self._stream.tasks.index(task)]
        where = ~np.isnan(labels) & ~np.isnan(predictions) & self._reported(rows)
        rows, error = rows[where], (predictions - labels)[where].astype(np.float64)
        sides = []
        for sign in (1, -1):
            here = (self._signs[seed][rows] == sign).astype(np.float64)
            sides.append(ratio(error * here, here, self._stream.clusters[rows], self._clusters))
        return Figure(sides[0].value - sides[1].value, sides[0].influence - sides[1].influence)

    def _injected(self, name: str, seed: int) -> float:
        """What the dial adds to the labels' contrast, over the rows that are reported."""
        task, teacher = self._tasks[name], self._teacher[seed]
        where = self._reported(teacher.rows)
        said, signs = teacher.columns((name,))[where, 0], self._signs[seed][teacher.rows[where]]
        labels = self._stream.labels[:, self._stream.tasks.index(name)]
        unit = 1.0 if task.kind == "binary" else float(np.nanstd(labels))
        moved = (shifted(said, DIAL * unit * signs, task) - said).astype(np.float64)
        return float(moved[signs > 0].mean() - moved[signs < 0].mean())

    def _reported(self, rows: Array) -> Array:
        spans = self._stream.spans[rows]
        return (spans >= self._spans.start) & (spans < self._spans.stop)
