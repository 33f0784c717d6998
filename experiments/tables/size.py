"""Experiment `size`: teachers of increasing width, the share of their gain that students recover, and costs.

Reference: Khani et al., RecSys '24, Table 2 (teachers of 2x and 4x the student's size).
"""

from __future__ import annotations

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import ArmPair, ResultRow

WIDTHS = (1, 2, 4, 8)
"""Factors of the student's layer and embedding widths."""


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs a teacher and its student for each width."""
    teachers = [TeacherArm(f"teacher-{width}x", width=float(width)) for width in WIDTHS]
    students = [
        StudentArm(f"student-of-{width}x", teacher=teacher.name, strategy="auxiliary")
        for width, teacher in zip(WIDTHS, teachers, strict=True)
    ]
    arms = runner.run(teachers) | runner.run((CONTROL, *students))
    student_pairs = [ArmPair(student.name, CONTROL.name, student.teacher) for student in students]
    teacher_pairs = [ArmPair(teacher.name, CONTROL.name) for teacher in teachers]
    return runner.compare("size", arms, [*student_pairs, *teacher_pairs])
