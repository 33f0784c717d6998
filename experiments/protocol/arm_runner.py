"""Tunes and runs the arms of an experiment; a student reads the soft labels of its teacher's trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pydantic

from eventlog.errors import BadInput
from experiments.protocol.arms import StudentArm, TeacherArm, with_surface_feature
from experiments.protocol.criterion import gains as gains_by_task
from experiments.protocol.settings import ExperimentProtocol
from experiments.protocol.tuning import Hyperparameters, TuningResult, choose_point, grid_points
from experiments.statistics.comparison import ALL_SURFACES, ArmPair, Comparison, ResultRow, largest_surface
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.trial import SoftLabelSource, Trial
from experiments.trials.trial_result import TrialResult
from pipeline.config import Deployment

Array = Any
Arm = StudentArm | TeacherArm


class ArmRunner:
    """Tunes and runs arms on one stream under one protocol.

    Args:
        protocol: the experiment's protocol.
        deployment: settings of the models.
        scheduler: runs trials.
        seeds: number of reported trials of each arm.
        per_surface: True trains a separate student for each surface.
        print_line: prints a line about the current step; also an attribute.
        labels_from: the first span with soft labels; None for the first tuning span.

    Attributes:
        choices: the tuning result of each arm, by the arm's name.
        costs: costs of training and serving of each arm, by the arm's name; see `_cost_json`.
        curves: calibration curves by task and arm, for the binary tasks of the primary endpoints.
        teachers: the arms that students can have as their teacher, by name.
    """

    def __init__(
        self,
        protocol: ExperimentProtocol,
        deployment: Deployment,
        scheduler: TrialScheduler,
        seeds: int,
        *,
        per_surface: bool,
        print_line: Callable[[str], Any],
        labels_from: int | None = None,
    ) -> None:
        self.protocol = protocol
        self.deployment = deployment
        self.scheduler = scheduler
        self.seeds = seeds
        self.per_surface = per_surface
        self.choices: dict[str, TuningResult] = {}
        self.costs: dict[str, dict[str, Any]] = {}
        self.curves: dict[str, dict[str, Any]] = {}
        self.teachers: dict[str, TeacherArm] = {}
        self.print_line = print_line
        self._labels_from = protocol.tuning_spans.start if labels_from is None else labels_from
        self._tuning_labels = scheduler.stream.known_labels(until=protocol.tuning_spans[-1])

    def compare(
        self, experiment: str, arms: Mapping[str, Sequence[TrialResult]], pairs: Sequence[ArmPair]
    ) -> list[ResultRow]:
        """Compares arms on the reporting spans, over all surfaces and on the largest one; fills `curves`.

        Args:
            experiment: name of the experiment.
            arms: for each arm, one result for each seed.
            pairs: the arms to compare.
        """
        stream, protocol = self.scheduler.stream, self.protocol
        tasks, spans = self.deployment.tasks, protocol.reporting_spans
        comparison = Comparison(stream, tasks, arms, spans, protocol.resamples, protocol.min_positives)
        for endpoint in protocol.primary.endpoints:
            if tasks[endpoint.task].kind == "binary":
                self.curves[endpoint.task] = comparison.calibration(endpoint.task)
        # A deployment may call its only surface `all`.
        surfaces = tuple(dict.fromkeys((ALL_SURFACES, largest_surface(stream, spans))))
        return comparison.rows(experiment, pairs, surfaces)

    def run(self, arms: Sequence[Arm]) -> dict[str, list[TrialResult]]:
        """Tunes arms, then runs each with every seed up to the last reporting span; fills `costs`.

        An earlier call must have run the teachers of the students among `arms`.

        Returns:
            For each arm, one result for each seed.
        """
        self.require_jobs(arms)
        self.teachers |= {arm.name: arm for arm in arms if isinstance(arm, TeacherArm)}
        for arm in arms:
            self.tune(arm)
        last_span = self.protocol.reporting_spans[-1]
        trials = [
            self.trial(arm, self.choices[arm.name].point, seed, last_span)
            for arm in arms
            for seed in range(self.seeds)
        ]
        self.print_line(f"reporting {', '.join(arm.name for arm in arms)}: {len(trials)} trials")
        results = iter(self.scheduler.run(trials))
        by_arm = {arm.name: [next(results) for _ in range(self.seeds)] for arm in arms}
        self.costs |= {arm.name: _cost_json(arm, by_arm[arm.name]) for arm in arms}
        return by_arm

    def require_jobs(self, arms: Sequence[Arm]) -> None:
        """Checks that the deployment allows the models of all arms.

        Raises:
            BadInput: if a model lacks what its arm needs, such as the tower of a soft head.
        """
        point = grid_points(self.protocol.grid)[0]
        for arm in arms:
            try:
                arm.job(self.deployment, 0, self.protocol.batch_size, point)
            except pydantic.ValidationError as error:
                raise BadInput(
                    "the deployment lacks what an arm of the experiment needs", where=f"arm {arm.name}",
                    expected="settings of a model that can be built", got=error.errors()[0]["msg"],
                    fix="Correct the deployment that the protocol names.",
                ) from error  # fmt: skip

    def trial(self, arm: Arm, point: Hyperparameters, seed: int, last_span: int) -> Trial:
        """The trial of an arm with hyperparameters and a seed; trains up to `last_span` inclusive."""
        protocol = self.protocol
        job = arm.job(self.deployment, seed, protocol.batch_size, point)
        if not (self.per_surface if isinstance(arm, StudentArm) else arm.per_surface):
            job = with_surface_feature(job, self.deployment)
        if isinstance(arm, TeacherArm):
            # `stability` checks the predictions of the burn-in. Span 0 has none: no training precedes it.
            return Trial(
                job=job, first_span=0, last_span=last_span, kept_from=1, extra_age=arm.extra_label_age,
                per_surface=arm.per_surface,
            )  # fmt: skip
        return Trial(
            job=job,
            first_span=protocol.students_from,
            last_span=last_span,
            kept_from=protocol.tuning_spans.start,
            per_surface=self.per_surface,
            label_source=self._label_source(arm, seed, last_span) if arm.teacher else None,
        )

    def _label_source(self, arm: StudentArm, seed: int, last_span: int) -> SoftLabelSource:
        """The soft labels of the teacher's trial with the same seed."""
        teacher = self.trial(self.teachers[arm.teacher], self.choices[arm.teacher].point, seed, last_span)
        return SoftLabelSource(
            teacher=self.scheduler.key(teacher),
            first_span=self._labels_from,
            treatment=arm.treatment,
            bias=arm.bias,
            sliced_by=self.protocol.require_slice_feature() if arm.bias else "",
        )

    def tune(self, arm: Arm) -> None:
        """Tunes an arm, or copies the choice of `hyperparameters_of`; stores the result in `choices`."""
        if arm.hyperparameters_of is not None:
            self.choices[arm.name] = self.choices[arm.hyperparameters_of]
            return
        self.print_line(f"tuning {arm.name}")
        distilled = isinstance(arm, StudentArm) and bool(arm.teacher)
        choice = choose_point(
            self.protocol.grid, lambda pairs: self._measure(arm, pairs), distilled=distilled
        )
        # `choose_point` has run the chosen point with every seed of the tuning. So if the arm is a teacher,
        # its students can be tuned with the labels of these trials.
        self.choices[arm.name] = choice
        point = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(choice.point).items())
        self.print_line(f"chose for {arm.name}: {point}")

    def _measure(self, arm: Arm, pairs: Sequence[tuple[Hyperparameters, int]]) -> list[dict[str, float]]:
        """The gains by task of an arm on the tuning spans, for each pair (point, seed)."""
        last_span = self.protocol.tuning_spans[-1]
        results = self.scheduler.run([self.trial(arm, point, seed, last_span) for point, seed in pairs])
        return [self.gains(result) for result in results]

    def gains(self, result: TrialResult, spans: range | None = None) -> dict[str, float]:
        """Information gain of a trial by task over `spans`, by default the tuning spans.

        Uses the labels that are known at the end of the tuning spans. Leaves out tasks with too few labels.
        """
        stream, spans = self.scheduler.stream, spans or self.protocol.tuning_spans
        where = np.isin(stream.spans[result.rows], spans)
        columns = [stream.tasks.index(name) for name in result.tasks]
        tasks = {name: self.deployment.tasks[name] for name in result.tasks}
        labels = self._tuning_labels[result.rows[where]][:, columns]
        return gains_by_task(labels, result.predictions[where], tasks, self.protocol.min_positives)


def _cost_json(arm: Arm, results: Sequence[TrialResult]) -> dict[str, Any]:
    """Mean seconds of a trial on one core; number of parameters and FLOPs per row of the served model."""
    return {
        "is_teacher": isinstance(arm, TeacherArm),
        "seconds": float(np.mean([result.seconds for result in results])),
        "num_parameters": results[0].num_parameters,
        "flops_per_row": results[0].flops_per_row,
    }
