"""What a teacher can know better: history that a student cannot afford, and the other surfaces.

Reference: Khani et al., RecSys '24, future work (one teacher of all surfaces).
"""

from __future__ import annotations

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import Pair, Row

TEACHERS = (
    TeacherArm("history", width=2.0),
    TeacherArm("no-history", width=2.0, history=False),
    TeacherArm("history-per-surface", width=2.0, per_surface=True),
    TeacherArm("history-1x", width=1.0),
)


def run(laboratory: Laboratory) -> list[Row]:
    """Runs a student of each teacher."""
    students = [
        StudentArm(f"student-of-{teacher.name}", teacher=teacher.name, strategy="auxiliary")
        for teacher in TEACHERS
    ]
    arms = laboratory.run_teachers(TEACHERS) | laboratory.run_students((CONTROL, *students))
    pairs = [Pair(student.name, CONTROL.name, student.teacher) for student in students]
    teachers = [Pair(teacher.name, CONTROL.name) for teacher in TEACHERS]
    between = [
        Pair("student-of-history", "student-of-no-history"),
        Pair("student-of-history", "student-of-history-per-surface"),
    ]
    return laboratory.compare("features", arms, [*pairs, *teachers, *between])
