"""Evaluates proposals against the control, on the tuning spans and on the reporting spans."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import SpanRows
from experiments.advice.proposals import Proposal
from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL
from experiments.protocol.criterion import criterion
from experiments.protocol.settings import ExperimentProtocol
from experiments.protocol.tuning import Hyperparameters, TuningResult
from experiments.statistics.influence import MetricValue, metric_values
from experiments.statistics.intervals import Estimate, Resamples, difference
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.trial import Trial
from experiments.trials.trial_result import TrialResult
from pipeline.config import Deployment, Student, Teacher

_MAX_SEEDS, _MIN_SEEDS = 10, 3


class ProposalRunner:
    """Runs proposals and the control with the deployment's training settings.

    Args:
        protocol: the experiment's protocol.
        deployment: the deployment whose student is distilled.
        scheduler: runs trials.
        print_line: prints a progress line.
    """

    def __init__(
        self,
        protocol: ExperimentProtocol,
        deployment: Deployment,
        scheduler: TrialScheduler,
        print_line: Callable[[str], Any],
    ) -> None:
        self._protocol = protocol
        self._deployment = deployment
        self._scheduler = scheduler

        def arm_runner(labels_from: int) -> ArmRunner:
            return ArmRunner(
                protocol, deployment, scheduler, _MAX_SEEDS,
                per_surface=False, print_line=print_line, labels_from=labels_from,
            )  # fmt: skip

        tuning = protocol.tuning_spans
        # The effect of soft labels in their first span differs from the later effect, so the search starts
        # them before the tuning spans.
        self.search = arm_runner(max(protocol.students_from + 1, tuning.start - len(tuning)))
        self.evaluation = arm_runner(tuning.start)
        self.student_seconds = self.teacher_seconds = 0.0
        """Upper bound of the next trial's cost in seconds, from the latest trials."""
        self._student_point = _point(deployment.student)
        self._teacher_point = _point(deployment.teacher)

    def scores(self, pairs: Sequence[tuple[Proposal, int]]) -> list[float]:
        """For each (proposal, seed) pair, the student's criterion minus that of the control with this seed.

        Both are measured on the tuning spans.
        """
        last = self._protocol.tuning_spans[-1]
        seeds = sorted({seed for _, seed in pairs})
        controls, students = self._run(self.search, pairs, seeds, last)
        gains = self.search.gains
        control_criteria = {
            seed: criterion(gains(result)) for seed, result in zip(seeds, controls, strict=True)
        }
        return [
            criterion(gains(result)) - control_criteria[seed]
            for result, (_, seed) in zip(students, pairs, strict=True)
        ]

    def forecast(self, pairs: Sequence[tuple[Proposal, int]]) -> float:
        """Seconds that `scores` will need for these pairs, from the latest trials."""
        teachers = {(proposal.width, seed) for proposal, seed in pairs}
        controls = {seed for _, seed in pairs}
        return self.teacher_seconds * len(teachers | controls) + self.student_seconds * len(pairs)

    def affordable_seeds(self, seconds: float) -> int:
        """The number of seeds with which two proposals, their teachers and the control run in `seconds`."""
        num_spans = self._protocol.reporting_spans[-1] + 1
        longer = num_spans / (self._protocol.tuning_spans[-1] + 1)
        per_seed = longer * (3 * self.teacher_seconds + 2 * self.student_seconds)
        return int(np.clip(seconds / per_seed, _MIN_SEEDS, _MAX_SEEDS))

    def reported_criteria(
        self, proposals: Iterable[Proposal | None], seeds: Sequence[int]
    ) -> dict[Proposal | None, list[MetricValue]]:
        """For each proposal (None is the control) and seed, the criterion on the reporting spans."""
        last, arms = self._protocol.reporting_spans[-1], list(proposals)
        pairs = [(proposal, seed) for proposal in arms if proposal for seed in seeds]
        controls, students = self._run(self.evaluation, pairs, seeds if None in arms else (), last)
        results = iter(students)
        return {
            arm: [self._reported_criterion(next(results)) for _ in seeds]
            if arm
            else list(map(self._reported_criterion, controls))
            for arm in arms
        }

    def difference(self, first: Sequence[MetricValue], second: Sequence[MetricValue]) -> Estimate:
        """Mean of `first` minus mean of `second` over seeds, with intervals over clusters and seeds."""
        num_clusters = int(self._scheduler.stream.clusters.max()) + 1
        resamples = Resamples(num_clusters, len(first), self._protocol.resamples, seed=0)
        return resamples.estimate((first, second), difference, resamples.replicates((first, second)))

    def students(
        self, arm_runner: ArmRunner, pairs: Sequence[tuple[Proposal, int]], last: int
    ) -> list[Trial]:
        """The students' trials up to span `last`; registers their teachers in `arm_runner`."""
        for proposal, _ in pairs:
            teacher = proposal.teacher
            arm_runner.teachers[teacher.name] = teacher
            arm_runner.choices[teacher.name] = TuningResult(self._teacher_point, ())
        return [
            arm_runner.trial(
                proposal.student(self._deployment),
                dataclasses.replace(self._student_point, soft_weight=proposal.weight),
                seed,
                last,
            )
            for proposal, seed in pairs
        ]

    def _run(
        self,
        arm_runner: ArmRunner,
        pairs: Sequence[tuple[Proposal, int]],
        control_seeds: Sequence[int],
        last: int,
    ) -> tuple[list[TrialResult], list[TrialResult]]:
        """Results of the controls and of the students; equal widths share the teacher of each seed."""
        students = self.students(arm_runner, pairs, last)
        teachers = dict.fromkeys((proposal.teacher, seed) for proposal, seed in pairs)
        # Trials without soft labels run first, the widest teachers before all others.
        trials = [
            arm_runner.trial(teacher, self._teacher_point, seed, last)
            for teacher, seed in sorted(teachers, key=lambda pair: -pair[0].width)
        ]
        trials += [arm_runner.trial(CONTROL, self._student_point, seed, last) for seed in control_seeds]
        results, self.teacher_seconds = self._timed(trials)
        student_results, self.student_seconds = self._timed(students)
        return results[len(teachers) :], student_results

    def _timed(self, trials: Sequence[Trial]) -> tuple[list[TrialResult], float]:
        """The results, and an upper bound of the seconds that one more trial takes."""
        started = time.monotonic()
        results = self._scheduler.run(trials)
        # The wall clock includes tracing. `TrialResult.seconds` includes training that trials share.
        by_wall = (time.monotonic() - started) / len(trials)
        by_trial = float(np.mean([result.seconds for result in results])) / self._scheduler.processes
        return results, min(by_wall, by_trial)

    def _reported_criterion(self, result: TrialResult) -> MetricValue:
        """The criterion on the reporting spans, with each cluster's influence on it.

        The criterion is linear in the losses, so the influences follow from those of the losses.
        """
        stream, protocol = self._scheduler.stream, self._protocol
        all_labels = stream.known_labels()
        reported = np.isin(stream.spans[result.rows], protocol.reporting_spans)
        gains, influences = [], []
        for column, name in enumerate(result.tasks):
            task = self._deployment.tasks[name]
            task_labels = all_labels[result.rows, stream.tasks.index(name)]
            where = reported & ~np.isnan(task_labels)
            labels = task_labels[where].astype(np.float64)
            positives = (labels > 0.5).sum()
            num_rare = min(positives, len(labels) - positives) if task.kind == "binary" else len(labels)
            if num_rare < protocol.min_positives:
                continue
            rows = SpanRows(labels, stream.clusters[result.rows[where]], result.predictions[where, column])
            losses = metric_values(task.kind, [rows], int(stream.clusters.max()) + 1)
            if task.kind == "binary":
                mean = labels.mean()
                scale = 1 / (mean * np.log(mean) + (1 - mean) * np.log1p(-mean))
                loss, influence = losses["log_loss"].value, losses["log_loss"].influence
            else:
                scale = -1 / labels.var()
                rmse = losses["rmse"]
                loss, influence = rmse.value**2, 2 * rmse.value * rmse.influence
            gains.append(1 + scale * loss)
            influences.append(scale * influence)
        return MetricValue(float(np.mean(gains)), np.mean(influences, axis=0))


def _point(model: Student | Teacher) -> Hyperparameters:
    return Hyperparameters(model.optimizer.learning_rate, model.passes, model.architecture.input_dropout, 1.0)
