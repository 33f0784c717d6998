"""Experiment `features`: a teacher of all surfaces with history features, and three variants of it.

The first teacher has twice the student's width. Each variant has one change: no history features, a separate
teacher for each surface, or the student's width.

Reference: Khani et al., RecSys '24, future work (one teacher for all surfaces).
"""

from __future__ import annotations

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm
from experiments.statistics.comparison import ArmPair, ResultRow

TEACHERS = (
    TeacherArm("history", width=2.0),
    TeacherArm("no-history", width=2.0, history=False),
    TeacherArm("history-per-surface", width=2.0, per_surface=True),
    TeacherArm("history-1x", width=1.0),
)


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs each teacher and a student of it. Compares them with the control, and students with each other."""
    students = [
        StudentArm(f"student-of-{teacher.name}", teacher=teacher.name, strategy="auxiliary")
        for teacher in TEACHERS
    ]
    arms = runner.run(TEACHERS) | runner.run((CONTROL, *students))
    student_pairs = [ArmPair(student.name, CONTROL.name, student.teacher) for student in students]
    teacher_pairs = [ArmPair(teacher.name, CONTROL.name) for teacher in TEACHERS]
    between_students = [
        ArmPair("student-of-history", "student-of-no-history"),
        ArmPair("student-of-history", "student-of-history-per-surface"),
    ]
    return runner.compare("features", arms, [*student_pairs, *teacher_pairs, *between_students])
