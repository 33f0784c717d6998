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
    """Runs and compares all arms; measures the leak of the strategies."""
    # Fails before the first trial, not after the last one.
    runner.protocol.require_slice_feature()
    arms = runner.run((TEACHER, TEACHER_OF_SAME_SIZE)) | runner.run(STUDENTS)
    rows = runner.compare("strategy", arms, pairs())
    return rows + leak.run(runner, arms, (DIRECT, AUXILIARY, AUXILIARY_TOWER))


def pairs() -> Sequence[ArmPair]:
    """The pairs of arms to compare: every arm with the control, and four pairs without the plain control."""
    students = [ArmPair(arm.name, CONTROL.name, arm.teacher) for arm in STUDENTS if arm != CONTROL]
    teachers = [ArmPair(arm.name, CONTROL.name) for arm in (TEACHER, TEACHER_OF_SAME_SIZE)]
    return [
        *students,
        *teachers,
        *(ArmPair(AUXILIARY.name, other.name) for other in (DIRECT, PLACEBO)),
        ArmPair(DIRECT.name, "placebo-direct"),
        ArmPair("auxiliary-ziln", "control-ziln"),
    ]
