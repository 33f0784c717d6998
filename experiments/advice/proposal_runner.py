"""Evaluates proposals against the control, on the tuning spans and on the reporting spans."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import SpanRows
from eventlog.errors import BadInput
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
from pipeline.config import Deployment
from pipeline.roles import Student, Teacher

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

        def make_arm_runner(labels_from: int) -> ArmRunner:
            return ArmRunner(
                protocol, deployment, scheduler, _MAX_SEEDS,
                per_surface=False, print_line=print_line, labels_from=labels_from,
            )  # fmt: skip

        tuning = protocol.tuning_spans
        # Soft labels have another effect in their first spans than later. So in the search they start before
        # the tuning spans.
        self.search_runner = make_arm_runner(max(protocol.students_from + 1, tuning.start - len(tuning)))
        self.evaluation_runner = make_arm_runner(tuning.start)
        self.student_seconds = self.teacher_seconds = 0.0
        """Upper bounds of the seconds of one more trial, from the latest trials.

        `teacher_seconds` is for a teacher or the control, `student_seconds` for a distilled student.
        """
        self._student_hyperparameters = deployed_hyperparameters(deployment.student)
        self._teacher_hyperparameters = deployed_hyperparameters(deployment.teacher)

    def scores(self, pairs: Sequence[tuple[Proposal, int]]) -> list[float]:
        """For each (proposal, seed) pair, the student's criterion minus the control's with the same seed.

        Both criteria are measured on the tuning spans.
        """
        last = self._protocol.tuning_spans[-1]
        seeds = sorted({seed for _, seed in pairs})
        controls, students = self._run(self.search_runner, pairs, seeds, last)
        gains = self.search_runner.gains
        control_criteria = {
            seed: criterion(gains(result)) for seed, result in zip(seeds, controls, strict=True)
        }
        return [
            criterion(gains(result)) - control_criteria[seed]
            for result, (_, seed) in zip(students, pairs, strict=True)
        ]

    def forecast(self, pairs: Sequence[tuple[Proposal, int]]) -> float:
        """Seconds that `scores` will need for these (proposal, seed) pairs, from the latest trials."""
        teachers = {(proposal.width, seed) for proposal, seed in pairs}
        controls = {seed for _, seed in pairs}
        return self.teacher_seconds * len(teachers | controls) + self.student_seconds * len(pairs)

    def affordable_seeds(self, seconds: float) -> int:
        """The number of seeds with which `seconds` suffice for two proposals, their teachers and the control.

        The number is at least 3 and at most 10. Trials run up to the last reporting span.
        """
        num_spans = self._protocol.reporting_spans[-1] + 1
        span_ratio = num_spans / (self._protocol.tuning_spans[-1] + 1)
        seconds_per_seed = span_ratio * (3 * self.teacher_seconds + 2 * self.student_seconds)
        return int(np.clip(seconds / seconds_per_seed, _MIN_SEEDS, _MAX_SEEDS))

    def reported_criteria(
        self, proposals: Iterable[Proposal | None], seeds: Sequence[int]
    ) -> dict[Proposal | None, list[MetricValue]]:
        """For each proposal (None is the control) and seed, the criterion on the reporting spans."""
        last, arms = self._protocol.reporting_spans[-1], list(proposals)
        pairs = [(proposal, seed) for proposal in arms if proposal for seed in seeds]
        controls, students = self._run(self.evaluation_runner, pairs, seeds if None in arms else (), last)
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
            arm_runner.choices[teacher.name] = TuningResult(self._teacher_hyperparameters, ())
        return [
            arm_runner.trial(
                proposal.student(self._deployment),
                dataclasses.replace(self._student_hyperparameters, soft_weight=proposal.weight),
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
        """Results of the controls and of the students. Proposals of one width and seed share a teacher."""
        students = self.students(arm_runner, pairs, last)
        teachers = dict.fromkeys((proposal.teacher, seed) for proposal, seed in pairs)
        # Teachers run before the students that need their labels. The widest take longest and so start first.
        trials = [
            arm_runner.trial(teacher, self._teacher_hyperparameters, seed, last)
            for teacher, seed in sorted(teachers, key=lambda pair: -pair[0].width)
        ]
        trials += [
            arm_runner.trial(CONTROL, self._student_hyperparameters, seed, last) for seed in control_seeds
        ]
        results, self.teacher_seconds = self._run_timed(trials)
        student_results, self.student_seconds = self._run_timed(students)
        return results[len(teachers) :], student_results

    def _run_timed(self, trials: Sequence[Trial]) -> tuple[list[TrialResult], float]:
        """Runs trials; returns their results and an upper bound of the seconds that one more trial takes."""
        started, num_missing = time.monotonic(), self._scheduler.num_missing(trials)
        results = self._scheduler.run(trials)
        # Both are upper bounds: the first includes tracing, the second training that trials share.
        by_wall = (time.monotonic() - started) / num_missing if num_missing else np.inf
        by_trial = float(np.mean([result.seconds for result in results])) / self._scheduler.processes
        return results, min(by_wall, by_trial)

    def _reported_criterion(self, result: TrialResult) -> MetricValue:
        """The criterion on the reporting spans, with each cluster's influence on it.

        The base rates are kept fixed. So the criterion is linear in the losses, and its influences follow
        from the influences on the losses.
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
            if num_rare < protocol.min_positives or labels.var() == 0:
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
        if not gains:
            raise BadInput(
                "too few labels on the reporting spans", where="the event log",
                expected=f"a task with at least {protocol.min_positives} positives and negatives",
                got=f"none of {', '.join(result.tasks)}", fix="Report on more spans, or lower min_positives.",
            )  # fmt: skip
        return MetricValue(float(np.mean(gains)), np.mean(influences, axis=0))


def deployed_hyperparameters(model: Student | Teacher) -> Hyperparameters:
    """The hyperparameters that the deployment sets for a model; the soft weight is 1."""
    return Hyperparameters(model.optimizer.learning_rate, model.passes, model.architecture.input_dropout, 1.0)
