"""What older labels cost: the same teacher, its labels so many spans behind.

Reference: Khani et al., RecSys '24, on teachers under changing data.
"""

from __future__ import annotations

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import Pair, Row

AGES = (0, 1, 2, 3)


def run(laboratory: Laboratory) -> list[Row]:
    """Runs a teacher and a student per age; all take the choices of the freshest."""
    teachers = [
        TeacherArm(f"teacher-{age}-old", width=2.0, age=age, like="teacher-0-old" if age else None)
        for age in AGES
    ]
    students = [
        StudentArm(
            f"student-{age}-old", teacher=teacher.name, strategy="auxiliary",
            like="student-0-old" if age else None,
        )
        for age, teacher in zip(AGES, teachers, strict=True)
    ]  # fmt: skip
    arms = laboratory.run_teachers(teachers) | laboratory.run_students((CONTROL, *students))
    pairs = [Pair(student.name, CONTROL.name, student.teacher) for student in students]
    older = [Pair(student.name, students[0].name) for student in students[1:]]
    return laboratory.compare("label-age", arms, [*pairs, *older])
