"""Arms against each other, task by task and surface by surface, as rows of results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation.bootstrap import METRICS, SpanRows
from components.evaluation.curves import calibration_curve
from experiments.statistics.influence import Figure, figures
from experiments.statistics.intervals import Estimate, Resamples, difference, first, holm, recovered
from experiments.trials.stream import Stream
from experiments.trials.trial_result import Outcome
from models.tasks import Task

Array = Any

ALL_SURFACES = ALL_TASKS = "all"
BOTH, SEEDS = "users and seeds", "seeds"
"""What an interval resamples."""


@dataclass(frozen=True)
class Row:
    """One line of results.

    Attributes:
        experiment, arm, surface, task, metric: what is measured; metric `gain_recovered` is the share of the
            teacher's gain over the control.
        seeds: how many runs stand behind it.
        mean, low, high: the arm's own figure.
        versus: the arm that it is compared with, or nothing.
        difference, difference_low, difference_high: the arm's less the other's, on the same users and seeds.
        interval: what the intervals resample, `users and seeds` or `seeds`.
        positives: of a binary task, 0 of others.
        p_holm: of a primary endpoint, corrected; else None.
        note: why there is no evidence, where there is none.
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
    interval: str = BOTH
    positives: int = 0
    p_holm: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """A comparison that is wanted.

    Attributes:
        arm: whose gain it is.
        versus: over whom.
        teacher: whose gain it is a share of, or nothing.
    """

    arm: str
    versus: str
    teacher: str = ""


class Comparison:
    """All arms of an experiment on one stretch.

    Args:
        stream: the rows.
        tasks: all tasks.
        arms: by name, by seed.
        spans: the stretch that is reported.
        resamples: draws behind each interval.
        min_positives: below it there is no evidence.
    """

    def __init__(
        self,
        stream: Stream,
        tasks: Mapping[str, Task],
        arms: Mapping[str, Sequence[Outcome]],
        spans: range,
        resamples: int,
        min_positives: int,
    ) -> None:
        self._stream = stream
        self._tasks = tasks
        self._arms = arms
        self._spans = spans
        self._known = stream.known_labels()
        self._min_positives = min_positives
        self._clusters = int(stream.clusters.max()) + 1
        self._seeds = len(next(iter(arms.values())))
        self._resamples = Resamples(self._clusters, self._seeds, resamples, seed=0)
        # A surface that is new has no model of its own yet; an arm that diverged must not empty the others'.
        self._predicted = np.ones(len(stream.spans), bool)
        for outcome in (each for of_arm in arms.values() for each in of_arm if not each.diverged):
            self._predicted[outcome.rows] &= np.isfinite(outcome.predictions).all(axis=1)

    def rows(self, experiment: str, pairs: Sequence[Pair], surfaces: Sequence[str]) -> list[Row]:
        """The arms' own figures, then their differences, per surface, task and metric.

        Args:
            experiment: its name.
            pairs: the comparisons; every arm's own figures are given whether it is in one or not.
            surfaces: names, `all` among them or not.
        """
        found: list[Row] = []
        for surface in surfaces:
            for name, task in self._tasks.items():
                found += self._of_task(experiment, pairs, surface, name, task)
        return found

    def calibration(self, task: str) -> dict[str, tuple[list[float], list[float]]]:
        """A binary task's mean prediction and share of positives in bins, all seeds together, by arm."""
        curves = {}
        for arm, outcomes in self._arms.items():
            spans = [rows for kept in outcomes if task in kept.tasks
                     for rows in self._span_rows(kept, ALL_SURFACES, task)]  # fmt: skip
            if spans and all(np.isfinite(rows.predictions).all() for rows in spans):
                labels, predictions = (
                    np.concatenate([getattr(rows, name) for rows in spans]).astype(np.float64)
                    for name in ("labels", "predictions")
                )
                predicted, observed = calibration_curve(labels, predictions)
                curves[arm] = (predicted.tolist(), observed.tolist())
        return curves

    def _of_task(
        self, experiment: str, pairs: Sequence[Pair], surface: str, name: str, task: Task
    ) -> list[Row]:
        arms = [arm for arm, outcomes in self._arms.items() if name in outcomes[0].tasks]
        spans = {arm: [self._span_rows(kept, surface, name) for kept in self._arms[arm]] for arm in arms}
        positives, note = self._evidence(next(iter(spans.values()))[0], task)
        by_arm = {
            arm: [figures(task.kind, of_seed, self._clusters) for of_seed in of_arm]
            for arm, of_arm in spans.items()
        }
        rows = []
        for metric in METRICS[task.kind]:
            of_metric = {arm: [of_seed[metric] for of_seed in by_arm[arm]] for arm in arms}
            replicates = self._resamples.replicates(list(of_metric.values()))
            base = Row(
                experiment, "", surface, name, metric, self._seeds, None, None, None,
                positives=positives, note=note,
            )  # fmt: skip
            table = _MetricTable(base, of_metric, replicates, self._resamples)
            for arm in arms:
                rows += table.own(arm)
            for pair in pairs:
                if {pair.arm, pair.versus} <= set(arms):
                    rows += table.versus(pair)
                if pair.teacher and {pair.arm, pair.versus, pair.teacher} <= set(arms):
                    rows += table.recovered(pair)
        return rows

    def _span_rows(self, kept: Outcome, surface: str, task: str) -> list[SpanRows]:
        """The rows that have a label, and a prediction of every arm that did not diverge."""
        stream, rows = self._stream, kept.rows
        labels = self._known[rows, stream.tasks.index(task)]
        of_span = stream.spans[rows]
        where = (
            self._predicted[rows]
            & ~np.isnan(labels)
            & (of_span >= self._spans.start)
            & (of_span < self._spans.stop)
        )
        if surface != ALL_SURFACES:
            where &= stream.surfaces[rows] == stream.surface_names.index(surface)
        predictions = kept.columns((task,))[:, 0]
        found = []
        for span in self._spans:
            here = where & (of_span == span)
            if here.any():
                found.append(SpanRows(labels[here], stream.clusters[rows[here]], predictions[here]))
        return found

    def _evidence(self, spans: Sequence[SpanRows], task: Task) -> tuple[int, str]:
        if task.kind != "binary":
            return 0, "" if spans else "no evidence: no label"
        positives = int(sum((rows.labels > 0.5).sum() for rows in spans))
        return positives, "" if positives >= self._min_positives else f"no evidence: {positives} positives"


class _MetricTable:
    """The rows of one metric."""

    def __init__(
        self, base: Row, arms: Mapping[str, Sequence[Figure]], replicates: Array, resamples: Resamples
    ) -> None:
        self._base = base
        self._arms = arms
        self._names = list(arms)
        self._replicates = replicates
        self._resamples = resamples

    def own(self, arm: str) -> list[Row]:
        estimate = self._estimate((arm,), first)
        return [
            dataclasses.replace(
                self._base, arm=arm, mean=_number(estimate.value), low=_low(bounds), high=_high(bounds),
                interval=kind,
            )
            for kind, bounds in _intervals(estimate)
        ]  # fmt: skip

    def versus(self, pair: Pair) -> list[Row]:
        estimate = self._estimate((pair.arm, pair.versus), difference)
        p = estimate.p if not self._base.note else None
        own = {row.interval: row for row in self.own(pair.arm)}
        return [
            dataclasses.replace(
                own[kind], versus=pair.versus, difference=_number(estimate.value),
                difference_low=_low(bounds), difference_high=_high(bounds), p_holm=p,
            )
            for kind, bounds in _intervals(estimate)
        ]  # fmt: skip

    def recovered(self, pair: Pair) -> list[Row]:
        """Defined only where the teacher's own gain excludes 0."""
        gain = self._estimate((pair.teacher, pair.versus), difference)
        estimate = self._estimate((pair.arm, pair.versus, pair.teacher), recovered)
        defined = gain.both is not None and (gain.both[0] > 0 or gain.both[1] < 0)
        row = dataclasses.replace(
            self._base, arm=pair.arm, versus=pair.versus, metric=f"gain_recovered_{self._base.metric}"
        )
        if not defined:
            return [dataclasses.replace(row, note="undefined: the teacher's own gain does not exclude 0")]
        return [
            dataclasses.replace(row, mean=_number(estimate.value), low=_low(bounds), high=_high(bounds),
                                interval=kind)
            for kind, bounds in _intervals(estimate)
        ]  # fmt: skip

    def _estimate(self, arms: tuple[str, ...], combine: Callable[[Array], Array]) -> Estimate:
        columns = [self._names.index(arm) for arm in arms]
        chosen = [self._arms[arm] for arm in arms]
        return self._resamples.estimate(chosen, combine, self._replicates[:, columns])


def with_holm(rows: Sequence[Row], is_primary: Callable[[Row], bool]) -> list[Row]:
    """Corrects the primary comparisons' p-values and takes those of the exploratory ones away."""
    tested = [
        place
        for place, row in enumerate(rows)
        if row.p_holm is not None and row.interval == BOTH and is_primary(row)
    ]
    corrected = dict(zip(tested, holm([rows[place].p_holm or 0.0 for place in tested]), strict=True))
    return [dataclasses.replace(row, p_holm=corrected.get(place)) for place, row in enumerate(rows)]


def largest_surface(stream: Stream, spans: range) -> str:
    """The surface with the most impressions of a stretch."""
    counts = np.bincount(stream.surfaces[stream.fresh_rows(spans)], minlength=len(stream.surface_names))
    return stream.surface_names[int(counts.argmax())]


def _intervals(estimate: Estimate) -> list[tuple[str, tuple[float, float] | None]]:
    return [(BOTH, estimate.both), (SEEDS, estimate.seeds)]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _low(bounds: tuple[float, float] | None) -> float | None:
    return None if bounds is None else bounds[0]


def _high(bounds: tuple[float, float] | None) -> float | None:
    return None if bounds is None else bounds[1]
