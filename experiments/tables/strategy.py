"""Table 1: distillation strategies against a tuned control, placebos and variants.

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
SAME_SIZE = TeacherArm("teacher-same-size", width=1.0, history=False)
AUXILIARY = StudentArm("auxiliary-logit", teacher="teacher", strategy="auxiliary")
DIRECT = StudentArm("direct", teacher="teacher", strategy="direct")
PLACEBO = StudentArm("placebo", teacher="teacher", strategy="auxiliary", treatment="permuted")
TOWER = StudentArm("auxiliary-tower", teacher="teacher", strategy="auxiliary", head="tower")
STUDENTS = (
    CONTROL,
    DIRECT,
    AUXILIARY,
    TOWER,
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
    """Runs and compares all arms, and measures bias leak."""
    arms = runner.run((TEACHER, SAME_SIZE)) | runner.run(STUDENTS)
    return runner.compare("strategy", arms, pairs()) + leak.run(runner, arms, (DIRECT, AUXILIARY, TOWER))


def pairs() -> Sequence[ArmPair]:
    """Every arm against the control; the primary arm also against `direct` and `placebo`."""
    students = [ArmPair(arm.name, CONTROL.name, arm.teacher) for arm in STUDENTS if arm != CONTROL]
    teachers = [ArmPair(arm.name, CONTROL.name) for arm in (TEACHER, SAME_SIZE)]
    return [
        *students,
        *teachers,
        *(ArmPair(AUXILIARY.name, other.name) for other in (DIRECT, PLACEBO)),
        ArmPair(DIRECT.name, "placebo-direct"),
        ArmPair("auxiliary-ziln", "control-ziln"),
    ]
