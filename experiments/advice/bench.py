"""What a candidate has over the control: to choose by on the tuning stretch, to show on the reporting one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import SpanRows
from experiments.advice.candidates import Candidate
from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL
from experiments.protocol.criterion import criterion
from experiments.protocol.settings import Experiment
from experiments.protocol.tuning import Choice, Point
from experiments.statistics.influence import Figure, figures
from experiments.statistics.intervals import Estimate, Resamples, difference
from experiments.trials.schedule import Schedule
from experiments.trials.trial import Trial
from experiments.trials.trial_result import Outcome
from pipeline.config import Deployment

_MOST_SEEDS, _LEAST_SEEDS = 10, 3


class Bench:
    """Runs candidates and the control, each under the deployment's own settings.

    Args:
        experiment: the protocol.
        deployment: whose student is to be distilled.
        schedule: runs trials.
        say: told what begins.
    """

    def __init__(
        self, experiment: Experiment, deployment: Deployment, schedule: Schedule, say: Callable[[str], Any]
    ) -> None:
        self._experiment = experiment
        self._deployment = deployment
        self._schedule = schedule

        def laboratory(labels_from: int) -> Laboratory:
            return Laboratory(
                experiment, deployment, schedule, _MOST_SEEDS,
                per_surface=False, say=say, labels_from=labels_from,
            )  # fmt: skip

        tuning = experiment.tuning_spans
        # What labels do in their first span says little of what they do later on.
        self.search = laboratory(max(experiment.students_from + 1, tuning.start - len(tuning)))
        self.judgement = laboratory(tuning.start)
        self.student_seconds = self.teacher_seconds = 0.0
        """Of the budget, one more trial takes at most this, going by the latest ones."""
        student, teacher = deployment.student, deployment.teacher
        self._point = Point(
            student.optimizer.learning_rate, student.passes, student.architecture.input_dropout, 1.0
        )
        self._teacher_point = Point(
            teacher.optimizer.learning_rate, teacher.passes, teacher.architecture.input_dropout, 1.0
        )

    def scores(self, asked: Sequence[tuple[Candidate, int]]) -> list[float]:
        """The criterion of each over the control's with the same seed, on the tuning stretch."""
        last = self._experiment.tuning_spans[-1]
        seeds = sorted({seed for _, seed in asked})
        controls, kept = self._run(self.search, asked, seeds, last)
        gains = self.search.gains
        return [
            criterion(gains(own)) - criterion(gains(controls[seeds.index(seed)]))
            for own, (_, seed) in zip(kept, asked, strict=True)
        ]

    def forecast(self, asked: Sequence[tuple[Candidate, int]]) -> float:
        """Seconds that their scores will take, going by the last ones."""
        teachers = {(candidate.width, seed) for candidate, seed in asked}
        controls = {seed for _, seed in asked}
        return self.teacher_seconds * len(teachers | controls) + self.student_seconds * len(asked)

    def affordable_seeds(self, seconds: float) -> int:
        """How many seeds of candidate, default, control and their teachers the rest of the budget allows."""
        spans = self._experiment.reporting_spans[-1] + 1
        stretch = spans / (self._experiment.tuning_spans[-1] + 1)
        per_seed = stretch * (3 * self.teacher_seconds + 2 * self.student_seconds)
        return int(np.clip(seconds / per_seed, _LEAST_SEEDS, _MOST_SEEDS))

    def figures(
        self, arms: Iterable[Candidate | None], seeds: Sequence[int]
    ) -> dict[Candidate | None, list[Figure]]:
        """The criterion of candidates (None: of the control) on the reporting stretch, by seed."""
        last, arms = self._experiment.reporting_spans[-1], list(arms)
        asked = [(one, seed) for one in arms if one for seed in seeds]
        controls, of_candidates = self._run(self.judgement, asked, seeds if None in arms else (), last)
        kept = iter(of_candidates)
        return {
            one: [self._figure(next(kept)) for _ in seeds] if one else list(map(self._figure, controls))
            for one in arms
        }

    def less(self, own: Sequence[Figure], other: Sequence[Figure]) -> Estimate:
        """What one has over another with the same seeds."""
        clusters = int(self._schedule.stream.clusters.max()) + 1
        resamples = Resamples(clusters, len(own), self._experiment.resamples, seed=0)
        return resamples.estimate((own, other), difference, resamples.replicates((own, other)))

    def _run(
        self,
        laboratory: Laboratory,
        asked: Sequence[tuple[Candidate, int]],
        controls: Sequence[int],
        last: int,
    ) -> tuple[list[Outcome], list[Outcome]]:
        """Controls of some seeds, and candidates; those of one width and seed share a teacher."""
        students = self.students(laboratory, asked, last)
        teachers = dict.fromkeys((candidate.teacher, seed) for candidate, seed in asked)
        # Whoever needs nobody's labels goes first, the widest before all.
        first = [
            laboratory.trial(teacher, self._teacher_point, seed, last)
            for teacher, seed in sorted(teachers, key=lambda pair: -pair[0].width)
        ]
        first += [laboratory.trial(CONTROL, self._point, seed, last) for seed in controls]
        of_first, self.teacher_seconds = self._timed(first)
        of_students, self.student_seconds = self._timed(students)
        return of_first[len(teachers) :], of_students

    def students(
        self, laboratory: Laboratory, asked: Sequence[tuple[Candidate, int]], last: int
    ) -> list[Trial]:
        """The trials of candidates under one of the two protocols, up to a span."""
        for candidate, _ in asked:
            teacher = candidate.teacher
            laboratory.teachers[teacher.name] = teacher
            laboratory.choices[teacher.name] = Choice(self._teacher_point, ())
        return [
            laboratory.trial(
                candidate.student(self._deployment),
                dataclasses.replace(self._point, soft_weight=candidate.weight),
                seed,
                last,
            )
            for candidate, seed in asked
        ]

    def _timed(self, trials: Sequence[Trial]) -> tuple[list[Outcome], float]:
        """Their outcomes, and an upper bound of the seconds that one more of them takes."""
        began = time.monotonic()
        kept = self._schedule.run(trials)
        # A wall clock counts the tracing of graphs, a trial's own what another had learnt for it.
        by_wall = (time.monotonic() - began) / len(trials)
        by_trial = float(np.mean([outcome.seconds for outcome in kept])) / self._schedule.processes
        return kept, min(by_wall, by_trial)

    def _figure(self, kept: Outcome) -> Figure:
        """The criterion on the reporting stretch, which is linear in the losses, with its influences."""
        stream, experiment = self._schedule.stream, self._experiment
        known = stream.known_labels()
        spans = stream.spans[kept.rows]
        inside = (spans >= experiment.reporting_spans.start) & (spans < experiment.reporting_spans.stop)
        values, influences = [], []
        for place, name in enumerate(kept.tasks):
            task = self._deployment.tasks[name]
            labels = known[kept.rows, stream.tasks.index(name)]
            where = inside & ~np.isnan(labels)
            own = labels[where].astype(np.float64)
            counted = min((own > 0.5).sum(), (own <= 0.5).sum()) if task.kind == "binary" else len(own)
            if counted < experiment.min_positives:
                continue
            rows = SpanRows(own, stream.clusters[kept.rows[where]], kept.predictions[where, place])
            found = figures(task.kind, [rows], int(stream.clusters.max()) + 1)
            if task.kind == "binary":
                mean = own.mean()
                scale = -1 / -(mean * np.log(mean) + (1 - mean) * np.log1p(-mean))
                loss, moved = found["log_loss"].value, found["log_loss"].influence
            else:
                scale = -1 / own.var()
                loss = found["rmse"].value ** 2
                moved = 2 * found["rmse"].value * found["rmse"].influence
            values.append(1 + scale * loss)
            influences.append(scale * moved)
        return Figure(float(np.mean(values)), np.mean(influences, axis=0))
