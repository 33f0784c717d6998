"""What ranks in a live experiment: the deployment's models, trained on the log, and how they score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.protocol.arms import for_all_surfaces
from experiments.trials.schedule import Schedule
from experiments.trials.trial import SoftLabelSource, Trial
from experiments.trials.trial_result import Outcome
from models.job import TrainingJob
from pipeline.config import Deployment

Array = Any

CONTROL, STUDENT, TEACHER = ARMS = ("control", "student", "teacher")
RANKING = (("click", 1.0), ("long_view", 1.0), ("like", 2.0))
"""By task, what a unit of its prediction is worth in the score."""


def train_arms(
    deployment: Deployment, schedule: Schedule, arms: Sequence[str], seeds: int, last: int
) -> dict[str, list[Outcome]]:
    """Trains the deployment's models over spans up to `last`, each with every seed: by arm, by seed.

    Teachers first, for their labels; then the rest. Students begin behind the burn-in, as deployed.
    """
    first = deployment.burn_in_spans[-1] + 1
    surface = next(iter(deployment.surfaces))

    def trial(job: TrainingJob, seed: int, first_span: int, labels: SoftLabelSource | None = None) -> Trial:
        own = for_all_surfaces(dataclasses.replace(job, seed=seed, surface=None), deployment)
        return Trial(job=own, first_span=first_span, last_span=last, kept_from=1, labels=labels)

    teachers = [trial(deployment.teacher_job(), seed, 0) for seed in range(seeds)]
    found = {TEACHER: schedule.run(teachers)} if {TEACHER, STUDENT} & set(arms) else {}
    if CONTROL in arms:
        controls = [trial(deployment.control_job(surface), seed, first) for seed in range(seeds)]
        found[CONTROL] = schedule.run(controls)
    if STUDENT in arms:
        students = [
            trial(
                deployment.student_job(surface), seed, first,
                SoftLabelSource(teacher=schedule.key(teachers[seed]), first_span=first),
            )
            for seed in range(seeds)
        ]  # fmt: skip
        found[STUDENT] = schedule.run(students)
    return {arm: found[arm] for arm in arms}


def scores_of(kept: Outcome, ranking: Sequence[tuple[str, float]] = RANKING) -> Array:
    """`[kept rows]` float64: by what a policy ranks."""
    return sum(weight * kept.columns((task,))[:, 0].astype(np.float64) for task, weight in ranking)
