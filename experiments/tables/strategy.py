"""Table 1: how a student is distilled, against a tuned control, a placebo and its own variants.

Reference: Khani et al., RecSys '24, Table 1 (direct and auxiliary distillation).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import Pair, Row
from experiments.tables import leak

TEACHER = TeacherArm("teacher", width=2.0)
SAME_SIZE = TeacherArm("teacher-same-size", width=1.0, history=False)
AUXILIARY = StudentArm("auxiliary-logit", teacher="teacher", strategy="auxiliary")
DIRECT = StudentArm("direct", teacher="teacher", strategy="direct")
PLACEBO = StudentArm("placebo", teacher="teacher", strategy="auxiliary", treatment="permuted")
STUDENTS = (
    CONTROL,
    DIRECT,
    AUXILIARY,
    StudentArm("auxiliary-tower", teacher="teacher", strategy="auxiliary", head="tower"),
    PLACEBO,
    StudentArm("placebo-direct", teacher="teacher", strategy="direct", treatment="permuted"),
    StudentArm("auxiliary-same-size", teacher="teacher-same-size", strategy="auxiliary"),
    # One thing changed, all else as chosen for the primary arm.
    dataclasses.replace(AUXILIARY, name="auxiliary-scaled", trunk_gradient_scale=0.3, like=AUXILIARY.name),
    dataclasses.replace(AUXILIARY, name="auxiliary-calibrated", treatment="calibrated", like=AUXILIARY.name),
    dataclasses.replace(AUXILIARY, name="auxiliary-soft", temperature=2.0, like=AUXILIARY.name),
    dataclasses.replace(AUXILIARY, name="auxiliary-ziln", value_loss="ziln", like=AUXILIARY.name),
    dataclasses.replace(CONTROL, name="control-ziln", value_loss="ziln", like=CONTROL.name),
)


def run(laboratory: Laboratory) -> list[Row]:
    """Runs all arms, compares them, and turns the dial."""
    arms = laboratory.run_teachers((TEACHER, SAME_SIZE)) | laboratory.run_students(STUDENTS)
    return laboratory.compare("strategy", arms, pairs()) + leak.run(laboratory, arms)


def pairs() -> Sequence[Pair]:
    """Every arm against the control; the primary one against direct and placebo too."""
    against_control = [Pair(arm.name, CONTROL.name, arm.teacher) for arm in STUDENTS if arm != CONTROL]
    teachers = [Pair(arm.name, CONTROL.name) for arm in (TEACHER, SAME_SIZE)]
    return [
        *against_control,
        *teachers,
        *(Pair(AUXILIARY.name, other.name) for other in (DIRECT, PLACEBO)),
        Pair(DIRECT.name, "placebo-direct"),
        Pair("auxiliary-ziln", "control-ziln"),
    ]
