"""How much of a teacher's bias is found again in its student.

A dial adds a known bias to the labels of every other slice and takes it from the rest. What a model's signed
calibration error differs by between the two halves, over what the control's does, is the bias that has
leaked; divided by what was injected into the labels, the share of it.

Reference: Khani et al., RecSys '24, on the bias that leaks under direct distillation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.arms import CONTROL, StudentArm
from experiments.comparison import ALL_SURFACES, BOTH, Row
from experiments.influence import Figure, ratio
from experiments.intervals import Resamples, difference
from experiments.laboratory import Laboratory
from experiments.outcome import Outcome
from experiments.soft_labels import shifted, slice_signs

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
    turned = dict(arms) | laboratory.run_students(biased)
    rows: list[Row] = []
    for task in laboratory.deployment.student.distillation:
        measure = Measure(laboratory, turned, task)
        rows += [measure.leak(name) for name in (*ARMS, *(arm.name for arm in biased))]
        rows += [measure.against_half(f"{name}@bias", "direct@bias") for name in ARMS if name != "direct"]
    return rows


def _biased(name: str, teacher: str) -> StudentArm:
    strategy = "direct" if name == "direct" else "auxiliary"
    head = "tower" if name == "auxiliary-tower" else "logit"
    return StudentArm(f"{name}@bias", teacher=teacher, strategy=strategy, head=head, bias=DIAL, like=name)  # type: ignore[arg-type]


class Measure:
    """The leak of one task, over all surfaces.

    Args:
        laboratory: names stream, stretch and slices.
        arms: outcomes by name, by seed; the first teacher and the control among them.
        task: which one.
    """

    def __init__(self, laboratory: Laboratory, arms: Mapping[str, Sequence[Outcome]], task: str) -> None:
        self._stream = laboratory.schedule.stream
        self._arms = arms
        self._task = task
        self._column = self._stream.tasks.index(task)
        self._known = self._stream.known_labels()[:, self._column]
        self._signs = slice_signs(self._stream, laboratory.experiment.slice_feature)
        self._spans = laboratory.experiment.reporting_spans
        self._clusters = int(self._stream.clusters.max()) + 1
        draws = laboratory.experiment.resamples
        self._resamples = Resamples(self._clusters, laboratory.seeds, draws, seed=0)
        self._injected = self._injected_contrast(laboratory)

    def leak(self, name: str) -> Row:
        """The contrast of an arm less the control's, in shares of what the dial at `DIAL` injects."""
        figures = [self._contrasts(name), self._contrasts(CONTROL.name)]
        return self._row(name, "leak", figures, lambda arms: difference(arms) / self._injected)

    def against_half(self, name: str, other: str) -> Row:
        """The arm's leak less half of the other's: below 0, it leaks less than half as much."""
        figures = [self._contrasts(arm) for arm in (name, other, CONTROL.name)]

        def less_half(arms: Array) -> Array:
            own, others = arms[..., 0] - arms[..., 2], arms[..., 1] - arms[..., 2]
            return (own - others / 2) / self._injected

        return dataclasses.replace(self._row(name, "leak_less_half", figures, less_half), versus=other)

    def _row(self, name: str, metric: str, figures: list[list[Figure]], combine: Any) -> Row:
        estimate = self._resamples.estimate(figures, combine, self._resamples.replicates(figures))
        low, high = estimate.both or (None, None)
        return Row(
            "strategy", name, ALL_SURFACES, self._task, metric, len(figures[0]),
            float(estimate.value), low, high, interval=BOTH,
        )  # fmt: skip

    def _contrasts(self, name: str) -> list[Figure]:
        return [self._contrast(kept.rows, kept.columns((self._task,))[:, 0]) for kept in self._arms[name]]

    def _contrast(self, rows: Array, predictions: Array) -> Figure:
        """Mean signed error where the dial adds, less the same where it takes away."""
        labels, spans = self._known[rows], self._stream.spans[rows]
        where = ~np.isnan(labels) & ~np.isnan(predictions)
        where &= (spans >= self._spans.start) & (spans < self._spans.stop)
        rows, error = rows[where], (predictions - labels)[where].astype(np.float64)
        sides = []
        for sign in (1, -1):
            here = (self._signs[rows] == sign).astype(np.float64)
            sides.append(ratio(error * here, here, self._stream.clusters[rows], self._clusters))
        return Figure(sides[0].value - sides[1].value, sides[0].influence - sides[1].influence)

    def _injected_contrast(self, laboratory: Laboratory) -> float:
        """What the dial adds to the labels' contrast, over the rows that are reported."""
        task = laboratory.deployment.tasks[self._task]
        teacher = self._arms[next(iter(laboratory.teachers))][0]
        where = (self._stream.spans[teacher.rows] >= self._spans.start) & (
            self._stream.spans[teacher.rows] < self._spans.stop
        )
        said, signs = teacher.columns((self._task,))[where, 0], self._signs[teacher.rows[where]]
        unit = 1.0 if task.kind == "binary" else float(np.nanstd(self._stream.labels[:, self._column]))
        moved = (shifted(said, DIAL * unit * signs, task) - said).astype(np.float64)
        return float(moved[signs > 0].mean() - moved[signs < 0].mean())
