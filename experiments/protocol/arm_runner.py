"""Tunes and runs arms: teachers first, then students on the labels of the teacher with their own seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.protocol.arms import StudentArm, TeacherArm, for_all_surfaces
from experiments.protocol.criterion import gains as gains_of
from experiments.protocol.settings import Experiment
from experiments.protocol.tuning import Choice, Point, choose
from experiments.statistics.comparison import ALL_SURFACES, Comparison, Pair, Row, largest_surface
from experiments.trials.schedule import Schedule
from experiments.trials.trial import SoftLabelSource, Trial
from experiments.trials.trial_result import Outcome
from pipeline.config import Deployment

Array = Any
Arm = StudentArm | TeacherArm


class Laboratory:
    """One stream, one protocol, and all arms that are run under it.

    Args:
        experiment: the protocol.
        deployment: whose models.
        schedule: runs trials.
        seeds: with how many seeds every arm is reported.
        per_surface: whether every surface has a student of its own.
        say: told what begins.
        labels_from: the first span whose rows have soft labels; None for that of the tuning stretch.
    """

    def __init__(
        self,
        experiment: Experiment,
        deployment: Deployment,
        schedule: Schedule,
        seeds: int,
        *,
        per_surface: bool,
        say: Callable[[str], Any],
        labels_from: int | None = None,
    ) -> None:
        self.experiment = experiment
        self.deployment = deployment
        self.schedule = schedule
        self.seeds = seeds
        self.per_surface = per_surface
        self.choices: dict[str, Choice] = {}
        self.costs: dict[str, dict[str, Any]] = {}
        self.curves: dict[str, dict[str, Any]] = {}
        """Calibration of the primary endpoints' binary tasks, by task and arm."""
        self.teachers: dict[str, TeacherArm] = {}
        self._say = say
        self._labels_from = experiment.tuning_spans.start if labels_from is None else labels_from
        self._known = schedule.stream.known_labels(until=experiment.tuning_spans[-1])

    def compare(self, name: str, arms: Mapping[str, Sequence[Outcome]], pairs: Sequence[Pair]) -> list[Row]:
        """The rows of an experiment: over all surfaces, and on the largest; keeps the calibration curves."""
        stream, spans = self.schedule.stream, self.experiment.reporting_spans
        comparison = Comparison(
            stream,
            self.deployment.tasks,
            arms,
            spans,
            self.experiment.resamples,
            self.experiment.min_positives,
        )
        for endpoint in self.experiment.primary.endpoints:
            if self.deployment.tasks[endpoint.task].kind == "binary":
                self.curves[endpoint.task] = comparison.calibration(endpoint.task)
        return comparison.rows(name, pairs, (ALL_SURFACES, largest_surface(stream, spans)))

    def run_teachers(self, arms: Sequence[TeacherArm]) -> dict[str, list[Outcome]]:
        """Tunes teachers, then runs each with every seed over the whole stream: by arm, by seed."""
        self.teachers |= {arm.name: arm for arm in arms}
        return self._run(arms)

    def run_students(self, arms: Sequence[StudentArm]) -> dict[str, list[Outcome]]:
        """The same of students and control, whose teachers have been run."""
        return self._run(arms)

    def trial(self, arm: Arm, point: Point, seed: int, last_span: int) -> Trial:
        """The course of an arm up to a span."""
        experiment = self.experiment
        job = arm.job(self.deployment, seed, experiment.batch_size, point)
        if not (self.per_surface if isinstance(arm, StudentArm) else arm.per_surface):
            job = for_all_surfaces(job, self.deployment)
        if isinstance(arm, TeacherArm):
            # Kept from the first span that it can predict: calibration looks back.
            return Trial(
                job=job, first_span=0, last_span=last_span, kept_from=1, age=arm.age,
                per_surface=arm.per_surface,
            )  # fmt: skip
        return Trial(
            job=job,
            first_span=experiment.students_from,
            last_span=last_span,
            kept_from=experiment.tuning_spans.start,
            per_surface=self.per_surface,
            labels=self._labels(arm, seed, last_span) if arm.teacher else None,
        )

    def _labels(self, arm: StudentArm, seed: int, last_span: int) -> SoftLabelSource:
        teacher = self.teachers[arm.teacher]
        labelling = self.trial(teacher, self.choices[arm.teacher].point, seed, last_span)
        return SoftLabelSource(
            teacher=self.schedule.key(labelling),
            first_span=self._labels_from,
            treatment=arm.treatment,
            bias=arm.bias,
            sliced_by=self.experiment.slice_feature if arm.bias else "",
        )

    def _run(self, arms: Sequence[Arm]) -> dict[str, list[Outcome]]:
        for arm in arms:
            self.tune(arm)
        last = self.experiment.reporting_spans[-1]
        trials = [
            self.trial(arm, self.choices[arm.name].point, seed, last)
            for arm in arms
            for seed in range(self.seeds)
        ]
        self._say(f"reporting {', '.join(arm.name for arm in arms)}: {len(trials)} trials")
        kept = self.schedule.run(trials)
        for place, arm in enumerate(arms):
            self.costs[arm.name] = _cost(arm, kept[place * self.seeds : (place + 1) * self.seeds])
        return {
            arm.name: kept[place * self.seeds : (place + 1) * self.seeds] for place, arm in enumerate(arms)
        }

    def tune(self, arm: Arm) -> None:
        """Chooses an arm's settings on the tuning stretch."""
        if arm.like is not None:
            self.choices[arm.name] = self.choices[arm.like]
            return
        self._say(f"tuning {arm.name}")
        self.choices[arm.name] = choose(
            self.experiment.grid,
            lambda asked: self._measure(arm, asked),
            distilled=isinstance(arm, StudentArm) and bool(arm.teacher),
        )
        chosen = dataclasses.asdict(self.choices[arm.name].point)
        self._say(f"chose for {arm.name}: " + ", ".join(f"{name} {value}" for name, value in chosen.items()))
        if isinstance(arm, TeacherArm):
            # Students are tuned on its labels, seed by seed.
            last = self.experiment.tuning_spans[-1]
            point = self.choices[arm.name].point
            self.schedule.run(
                [self.trial(arm, point, seed, last) for seed in range(self.experiment.grid.seeds)]
            )

    def _measure(self, arm: Arm, asked: Sequence[tuple[Point, int]]) -> list[dict[str, float]]:
        last = self.experiment.tuning_spans[-1]
        kept = self.schedule.run([self.trial(arm, point, seed, last) for point, seed in asked])
        return [self.gains(outcome) for outcome in kept]

    def gains(self, outcome: Outcome, spans: range | None = None) -> dict[str, float]:
        """By task, with what was known at the end of the tuning stretch: over it, or over some spans."""
        stream, spans = self.schedule.stream, spans or self.experiment.tuning_spans
        where = np.isin(stream.spans[outcome.rows], spans)
        columns = [stream.tasks.index(name) for name in outcome.tasks]
        tasks: Mapping[str, Any] = {name: self.deployment.tasks[name] for name in outcome.tasks}
        labels = self._known[outcome.rows[where]][:, columns]
        return gains_of(labels, outcome.predictions[where], tasks, self.experiment.min_positives)


def _cost(arm: Arm, kept: Sequence[Outcome]) -> dict[str, Any]:
    """Seconds are of the whole course on one core; the rest is of the served model."""
    return {
        "is_teacher": isinstance(arm, TeacherArm),
        "seconds": float(np.mean([outcome.seconds for outcome in kept])),
        "num_parameters": kept[0].num_parameters,
        "flops_per_row": kept[0].flops_per_row,
    }
