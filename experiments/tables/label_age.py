"""Measures the cost of old labels: four teachers, whose labels are 0 to 3 spans older than necessary.

Reference: Khani et al., RecSys '24, on teachers under changing data.
"""

from __future__ import annotations

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import ArmPair, ResultRow

EXTRA_AGES = (0, 1, 2, 3)


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs a teacher and a student for each extra age; all use the settings tuned without one."""
    teachers = [
        TeacherArm(
            f"teacher-{age}-old", width=2.0, age=age, hyperparameters_of="teacher-0-old" if age else None
        )
        for age in EXTRA_AGES
    ]
    students = [
        StudentArm(
            f"student-{age}-old", teacher=teacher.name, strategy="auxiliary",
            hyperparameters_of="student-0-old" if age else None,
        )
        for age, teacher in zip(EXTRA_AGES, teachers, strict=True)
    ]  # fmt: skip
    arms = runner.run(teachers) | runner.run((CONTROL, *students))
    pairs = [ArmPair(student.name, CONTROL.name, student.teacher) for student in students]
    against_freshest = [ArmPair(student.name, students[0].name) for student in students[1:]]
    return runner.compare("label-age", arms, [*pairs, *against_freshest])
