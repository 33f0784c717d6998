"""Compares arms on each surface, task and metric; returns result rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation.bootstrap import METRICS, SpanRows
from components.evaluation.curves import calibration_curve
from experiments.statistics.influence import MetricValue, metric_values
from experiments.statistics.intervals import (
    Estimate,
    Resamples,
    difference,
    first_arm,
    holm,
    recovered_gain,
)
from experiments.trials.stream import ExampleStream
from experiments.trials.trial_result import TrialResult
from models.tasks import Task

Array = Any

ALL_SURFACES = ALL_TASKS = "all"
USERS_AND_SEEDS, SEEDS_ONLY = "users and seeds", "seeds"
"""The values of `ResultRow.interval`."""


@dataclass(frozen=True)
class ResultRow:
    """One row of results: a metric of an arm, or the metric's difference to another arm.

    Attributes:
        experiment, arm, surface, task: names; `all` means all surfaces or all tasks together.
        metric: name of the metric. `gain_recovered_*` is the student's gain as a share of the teacher's gain.
        seeds: number of trials of the arm, one for each seed.
        mean, low, high: the arm's mean over seeds and the ends of its interval; None if undefined.
        versus: the arm that `arm` is compared with; empty without a comparison.
        difference, difference_low, difference_high: `arm` minus `versus` on the same users and seeds, and the
            ends of its interval; None without a comparison or if undefined.
        interval: `users and seeds` if the intervals resample both; `seeds` if they are computed from the
            seeds' figures without resampling.
        positives: number of positives of a binary task; 0 for a regression task.
        p_holm: p-value of the difference; None without one. `Comparison` sets the uncorrected p-value, and
            `apply_holm_correction` corrects the primary ones and removes the others.
        note: the reason if there is no evidence, otherwise empty.
    """

    experiment: str
    arm: str
    surface: str
    task: str
    metric: str
    seeds: int
    mean: float | None
    low: float | None
    high: float | None
    versus: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    interval: str = USERS_AND_SEEDS
    positives: int = 0
    p_holm: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ArmPair:
    """Two arms to compare.

    Attributes:
        arm: the arm whose gain over `versus` is measured.
        versus: the arm that `arm` is compared with.
        teacher: the teacher of `arm`. `gain_recovered_*` is the gain of `arm` divided by the teacher's gain,
            both over `versus`. Empty: there is no such row.
    """

    arm: str
    versus: str
    teacher: str = ""


class Comparison:
    """Compares all arms of an experiment on the reporting spans.

    Args:
        stream: the rows.
        tasks: the tasks to compare, by name.
        arms: for each arm, one result for each seed.
        spans: the reporting spans.
        resamples: number of resamples for each interval.
        min_positives: a binary task with fewer positives gives no evidence.
    """

    def __init__(
        self,
        stream: ExampleStream,
        tasks: Mapping[str, Task],
        arms: Mapping[str, Sequence[TrialResult]],
        spans: range,
        resamples: int,
        min_positives: int,
    ) -> None:
        self._stream = stream
        self._tasks = tasks
        self._arms = arms
        self._spans = spans
        self._labels = stream.known_labels()
        self._min_positives = min_positives
        self._num_seeds = len(next(iter(arms.values())))
        self._resamples = Resamples(stream.num_clusters, self._num_seeds, resamples, seed=0)
        # A per-surface model has no prediction before its first training. All arms are compared on the rows
        # that every trial has predicted. Diverged trials do not limit these rows.
        self._predicted = np.ones(len(stream.spans), bool)
        for result in (result for results in arms.values() for result in results if not result.diverged):
            self._predicted[result.rows] &= np.isfinite(result.predictions).all(axis=1)

    def rows(self, experiment: str, pairs: Sequence[ArmPair], surfaces: Sequence[str]) -> list[ResultRow]:
        """The metrics of all arms and the differences of `pairs`, for each surface, task and metric.

        Args:
            experiment: name of the experiment.
            pairs: the arms to compare.
            surfaces: names of surfaces; `all` means all surfaces together.
        """
        return [
            row
            for surface in surfaces
            for name, task in self._tasks.items()
            for row in self._task_rows(experiment, pairs, surface, name, task)
        ]

    def calibration(self, task: str) -> dict[str, tuple[list[float], list[float]]]:
        """For each arm, mean predictions and shares of positives by bin, with the rows of all seeds together.

        Args:
            task: name of a binary task. Arms without this task or with a prediction that is not finite are
                left out.
        """
        curves = {}
        for arm, results in self._arms.items():
            spans = [rows for result in results if task in result.tasks
                     for rows in self._span_rows(result, ALL_SURFACES, task)]  # fmt: skip
            if spans and all(np.isfinite(rows.predictions).all() for rows in spans):
                labels, predictions = (
                    np.concatenate([getattr(rows, name) for rows in spans]).astype(np.float64)
                    for name in ("labels", "predictions")
                )
                predicted, observed = calibration_curve(labels, predictions)
                curves[arm] = (predicted.tolist(), observed.tolist())
        return curves

    def _task_rows(
        self, experiment: str, pairs: Sequence[ArmPair], surface: str, name: str, task: Task
    ) -> Iterator[ResultRow]:
        spans_by_arm = {
            arm: [self._span_rows(result, surface, name) for result in results]
            for arm, results in self._arms.items()
            if name in results[0].tasks
        }
        positives, note = self._evidence(next(iter(spans_by_arm.values()))[0], task)
        metrics_by_arm = {
            arm: [metric_values(task.kind, spans, self._stream.num_clusters) for spans in spans_by_seed]
            for arm, spans_by_seed in spans_by_arm.items()
        }
        for metric in METRICS[task.kind]:
            base = ResultRow(
                experiment, "", surface, name, metric, self._num_seeds, None, None, None,
                positives=positives, note=note,
            )  # fmt: skip
            arms = {
                arm: [metrics[metric] for metrics in metrics_by_seed]
                for arm, metrics_by_seed in metrics_by_arm.items()
            }
            table = _MetricTable(base, arms, self._resamples)
            for arm in arms:
                yield from table.arm_rows(arm)
            for pair in pairs:
                if {pair.arm, pair.versus} <= arms.keys():
                    yield from table.difference_rows(pair)
                if pair.teacher and {pair.arm, pair.versus, pair.teacher} <= arms.keys():
                    yield from table.recovered_gain_rows(pair)

    def _span_rows(self, result: TrialResult, surface: str, task: str) -> list[SpanRows]:
        """By span, the rows with a label and with predictions of all trials that did not diverge."""
        stream, rows = self._stream, result.rows
        labels = self._labels[rows, stream.tasks.index(task)]
        predictions = result.columns((task,))[:, 0]
        where = self._predicted[rows] & ~np.isnan(labels)
        if surface != ALL_SURFACES:
            where &= stream.surfaces[rows] == stream.surface_names.index(surface)
        span_rows = []
        for span in self._spans:
            in_span = where & (stream.spans[rows] == span)
            if in_span.any():
                clusters = stream.clusters[rows[in_span]]
                span_rows.append(SpanRows(labels[in_span], clusters, predictions[in_span]))
        return span_rows

    def _evidence(self, spans: Sequence[SpanRows], task: Task) -> tuple[int, str]:
        """The number of positives, and the reason if there is no evidence, otherwise an empty text."""
        if task.kind != "binary":
            return 0, "" if spans else "no evidence: no label"
        positives = int(sum((rows.labels > 0.5).sum() for rows in spans))
        return positives, "" if positives >= self._min_positives else f"no evidence: {positives} positives"


class _MetricTable:
    """Computes the result rows of one metric, task and surface.

    Args:
        base: a row with experiment, surface, task, metric, number of positives and note.
        arms: for each arm, one value for each seed.
        resamples: resamples of users and seeds.
    """

    def __init__(
        self, base: ResultRow, arms: Mapping[str, Sequence[MetricValue]], resamples: Resamples
    ) -> None:
        self._base = base
        self._arms = arms
        self._names = list(arms)
        self._replicates = resamples.replicates(list(arms.values()))
        self._resamples = resamples

    def arm_rows(self, arm: str) -> list[ResultRow]:
        return self._mean_rows(dataclasses.replace(self._base, arm=arm), self._estimate((arm,), first_arm))

    def difference_rows(self, pair: ArmPair) -> list[ResultRow]:
        estimate = self._estimate((pair.arm, pair.versus), difference)
        p_value = estimate.p_value if not self._base.note else None
        arm_rows = {row.interval: row for row in self.arm_rows(pair.arm)}
        return [
            dataclasses.replace(
                arm_rows[interval], versus=pair.versus, difference=_finite(estimate.value),
                difference_low=low, difference_high=high, p_holm=p_value,
            )
            for interval, low, high in _intervals(estimate)
        ]  # fmt: skip

    def recovered_gain_rows(self, pair: ArmPair) -> list[ResultRow]:
        """The student's share of the teacher's gain; undefined if the interval of that gain includes 0."""
        row = dataclasses.replace(
            self._base, arm=pair.arm, versus=pair.versus, metric=f"gain_recovered_{self._base.metric}"
        )
        gain = self._estimate((pair.teacher, pair.versus), difference).users_and_seeds
        if gain is None or not (gain[0] > 0 or gain[1] < 0):
            return [dataclasses.replace(row, note="undefined: the interval of the teacher's gain includes 0")]
        return self._mean_rows(row, self._estimate((pair.arm, pair.versus, pair.teacher), recovered_gain))

    def _mean_rows(self, row: ResultRow, estimate: Estimate) -> list[ResultRow]:
        mean = _finite(estimate.value)
        return [
            dataclasses.replace(row, mean=mean, low=low, high=high, interval=interval)
            for interval, low, high in _intervals(estimate)
        ]

    def _estimate(self, arms: tuple[str, ...], combine: Callable[[Array], Array]) -> Estimate:
        columns = [self._names.index(arm) for arm in arms]
        return self._resamples.estimate(
            [self._arms[arm] for arm in arms], combine, self._replicates[:, columns]
        )


def apply_holm_correction(
    rows: Sequence[ResultRow], is_primary: Callable[[ResultRow], bool]
) -> list[ResultRow]:
    """Applies Holm's correction to the p-values of primary rows; removes the p-values of all other rows.

    Only rows with the interval `users and seeds` keep a p-value.
    """
    tested = [
        index
        for index, row in enumerate(rows)
        if row.p_holm is not None and row.interval == USERS_AND_SEEDS and is_primary(row)
    ]
    corrected = dict(zip(tested, holm([rows[index].p_holm or 0.0 for index in tested]), strict=True))
    return [dataclasses.replace(row, p_holm=corrected.get(index)) for index, row in enumerate(rows)]


def largest_surface(stream: ExampleStream, spans: range) -> str:
    """The name of the surface with the most impressions in `spans`."""
    counts = np.bincount(stream.surfaces[stream.fresh_rows(spans)], minlength=len(stream.surface_names))
    return stream.surface_names[int(counts.argmax())]


def _intervals(estimate: Estimate) -> list[tuple[str, float | None, float | None]]:
    """For each interval of an estimate: `ResultRow.interval`, lower end and upper end."""
    return [
        (kind, *(bounds or (None, None)))
        for kind, bounds in ((USERS_AND_SEEDS, estimate.users_and_seeds), (SEEDS_ONLY, estimate.seeds_only))
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
