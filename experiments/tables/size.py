"""Table 2: teachers of rising size, what their students recover of their gain, and what they cost.

Reference: Khani et al., RecSys '24, Table 2 (teachers of 2x and 4x the student's size).
"""

from __future__ import annotations

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import Pair, Row

WIDTHS = (1, 2, 4, 8)


def run(laboratory: Laboratory) -> list[Row]:
    """Runs a teacher and a student of it per width."""
    teachers = [TeacherArm(f"teacher-{width}x", width=float(width)) for width in WIDTHS]
    students = [
        StudentArm(f"student-of-{width}x", teacher=teacher.name, strategy="auxiliary")
        for width, teacher in zip(WIDTHS, teachers, strict=True)
    ]
    arms = laboratory.run_teachers(teachers) | laboratory.run_students((CONTROL, *students))
    gains = [Pair(student.name, CONTROL.name, student.teacher) for student in students]
    return laboratory.compare(
        "size", arms, [*gains, *(Pair(teacher.name, CONTROL.name) for teacher in teachers)]
    )
