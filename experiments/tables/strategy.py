"""Experiment `strategy`: distillation strategies and variants against a tuned control and placebos.

Reference: Khani et al., RecSys '24, Table 1 (direct and auxiliary distillation).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import ArmPair, ResultRow
from experiments.tables import leak
from pipeline.config import Deployment

TEACHER = TeacherArm("teacher", width=2.0)
TEACHER_OF_SAME_SIZE = TeacherArm("teacher-same-size", width=1.0, history=False)
AUXILIARY = StudentArm("auxiliary-logit", teacher="teacher", strategy="auxiliary")
DIRECT = StudentArm("direct", teacher="teacher", strategy="direct")
PLACEBO = StudentArm("placebo", teacher="teacher", strategy="auxiliary", treatment="permuted")
AUXILIARY_TOWER = StudentArm("auxiliary-tower", teacher="teacher", strategy="auxiliary", head="tower")
STUDENTS = (
    CONTROL,
    DIRECT,
    AUXILIARY,
    AUXILIARY_TOWER,
    PLACEBO,
    StudentArm("placebo-direct", teacher="teacher", strategy="direct", treatment="permuted"),
    StudentArm("auxiliary-same-size", teacher="teacher-same-size", strategy="auxiliary"),
    # Each variant changes one setting and keeps the hyperparameters of its base arm.
    dataclasses.replace(
        AUXILIARY, name="auxiliary-scaled", trunk_gradient_scale=0.3, hyperparameters_of=AUXILIARY.name
    ),
    dataclasses.replace(
        AUXILIARY, name="auxiliary-calibrated", treatment="calibrated", hyperparameters_of=AUXILIARY.name
    ),
    dataclasses.replace(AUXILIARY, name="auxiliary-soft", temperature=2.0, hyperparameters_of=AUXILIARY.name),
    dataclasses.replace(
        AUXILIARY, name="auxiliary-ziln", value_loss="ziln", hyperparameters_of=AUXILIARY.name
    ),
    dataclasses.replace(CONTROL, name="control-ziln", value_loss="ziln", hyperparameters_of=CONTROL.name),
)


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs and compares all arms that the deployment can have; measures the leak of the strategies."""
    # These fail before the first trial, not after the last one.
    runner.protocol.require_slice_feature()
    students = students_of(runner.deployment)
    runner.require_jobs((TEACHER, TEACHER_OF_SAME_SIZE, *students))
    left_out = [arm.name for arm in STUDENTS if arm not in students]
    if left_out:
        runner.print_line(
            f"left out, because the students have no tower or no regression: {', '.join(left_out)}"
        )
    arms = runner.run((TEACHER, TEACHER_OF_SAME_SIZE)) | runner.run(students)
    rows = runner.compare("strategy", arms, pairs(students))
    return rows + leak.run(
        runner, arms, [arm for arm in (DIRECT, AUXILIARY, AUXILIARY_TOWER) if arm in students]
    )


def students_of(deployment: Deployment) -> tuple[StudentArm, ...]:
    """The arms of `STUDENTS` without those that need a tower or a regression which the students lack."""
    has_tower = bool(deployment.student.architecture.tower)
    has_regression = any(deployment.tasks[name].kind == "regression" for name in deployment.student.tasks)
    return tuple(
        arm
        for arm in STUDENTS
        if (has_tower or arm.head != "tower") and (has_regression or arm.value_loss != "ziln")
    )


def pairs(students: Sequence[StudentArm] = STUDENTS) -> Sequence[ArmPair]:
    """The pairs of arms to compare: every arm with the control, and up to four pairs without it."""
    has_ziln = any(arm.value_loss == "ziln" for arm in students)
    teachers = [ArmPair(arm.name, CONTROL.name) for arm in (TEACHER, TEACHER_OF_SAME_SIZE)]
    return [
        *(ArmPair(arm.name, CONTROL.name, arm.teacher) for arm in students if arm != CONTROL),
        *teachers,
        *(ArmPair(AUXILIARY.name, other.name) for other in (DIRECT, PLACEBO)),
        ArmPair(DIRECT.name, "placebo-direct"),
        *([ArmPair("auxiliary-ziln", "control-ziln")] if has_ziln else []),
    ]
