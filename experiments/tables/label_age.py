"""Experiment `label-age`: teachers that have not seen the last 0 to 3 spans before the labelled one.

Reference: Khani et al., RecSys '24, on teachers under changing data.
"""

from __future__ import annotations

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import ArmPair, ResultRow

EXTRA_AGES = (0, 1, 2, 3)
"""In spans, added to the label age of a teacher that has trained on all earlier spans."""


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs a teacher and a student for each extra age; all use the hyperparameters tuned for extra age 0."""
    teachers = [
        TeacherArm(
            f"teacher-{extra_age}-old", width=2.0, extra_label_age=extra_age,
            hyperparameters_of="teacher-0-old" if extra_age else None,
        )
        for extra_age in EXTRA_AGES
    ]  # fmt: skip
    students = [
        StudentArm(
            f"student-{extra_age}-old", teacher=teacher.name, strategy="auxiliary",
            hyperparameters_of="student-0-old" if extra_age else None,
        )
        for extra_age, teacher in zip(EXTRA_AGES, teachers, strict=True)
    ]  # fmt: skip
    arms = runner.run(teachers) | runner.run((CONTROL, *students))
    student_pairs = [ArmPair(student.name, CONTROL.name, student.teacher) for student in students]
    against_freshest = [ArmPair(student.name, students[0].name) for student in students[1:]]
    return runner.compare("label-age", arms, [*student_pairs, *against_freshest])
