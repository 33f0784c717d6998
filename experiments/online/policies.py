"""Trains the deployment's models on a log and computes the scores by which they rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eventlog.errors import BadInput
from experiments.protocol.arms import with_surface_feature
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.trial import SoftLabelSource, Trial
from experiments.trials.trial_result import TrialResult
from models.job import TrainingJob
from pipeline.config import Deployment
from pipeline.roles import Ranking

Array = Any

CONTROL, STUDENT, TEACHER = ARMS = ("control", "student", "teacher")


def require_ranking(deployment: Deployment) -> Ranking:
    """The deployment's ranking.

    Raises:
        BadInput: if it has none.
    """
    if deployment.ranking is None:
        raise BadInput(
            "no ranking", where=f"deployment {deployment.name}", got="none",
            expected="ranking: with the weights of the score and the measures",
            fix="Add `ranking` to the configuration, as in pipeline/configs/demo.yaml.",
        )  # fmt: skip
    return deployment.ranking


def train_arms(
    deployment: Deployment, scheduler: TrialScheduler, arms: Sequence[str], seeds: int, last_span: int
) -> dict[str, list[TrialResult]]:
    """Trains the arms over the spans up to `last_span`, each with the seeds from 0 to `seeds - 1`.

    Students and controls train on the spans after the burn-in. Teachers train on all spans. One model serves
    all surfaces; students and controls have the settings of the first surface's student.

    Returns:
        For each arm, one result for each seed.
    """
    students_from = deployment.burn_in_spans[-1] + 1
    surface = next(iter(deployment.surfaces))

    def trial(job: TrainingJob, seed: int, first_span: int, labels: SoftLabelSource | None = None) -> Trial:
        seeded = with_surface_feature(dataclasses.replace(job, seed=seed, surface=None), deployment)
        return Trial(job=seeded, first_span=first_span, last_span=last_span, kept_from=1, label_source=labels)

    teachers = [trial(deployment.teacher_job(), seed, 0) for seed in range(seeds)]
    # Students train on the teachers' labels, so the teachers run first.
    results = {TEACHER: scheduler.run(teachers)} if {TEACHER, STUDENT} & set(arms) else {}
    if CONTROL in arms:
        controls = [trial(deployment.control_job(surface), seed, students_from) for seed in range(seeds)]
        results[CONTROL] = scheduler.run(controls)
    if STUDENT in arms:
        students = [
            trial(
                deployment.student_job(surface), seed, students_from,
                SoftLabelSource(teacher=scheduler.key(teachers[seed]), first_span=students_from),
            )
            for seed in range(seeds)
        ]  # fmt: skip
        results[STUDENT] = scheduler.run(students)
    return {arm: results[arm] for arm in arms}


def scores_of(result: TrialResult, ranking_weights: Mapping[str, float]) -> Array:
    """The scores by which a policy ranks: for each row of `result`, the weighted sum of its predictions.

    Returns:
        `[rows of the result]` float64. The rows are the fresh rows from span `Trial.kept_from` on.
    """
    return sum(
        weight * result.columns((task,))[:, 0].astype(np.float64) for task, weight in ranking_weights.items()
    )
