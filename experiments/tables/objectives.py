"""Table 3: which tasks to distil, and whether the teacher needs the others.

Reference: Khani et al., RecSys '24, Table 3 (primary engagement tasks; satisfaction tasks too; all).
"""

from __future__ import annotations

from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm, tasks_of
from experiments.protocol.laboratory import Laboratory
from experiments.statistics.comparison import Pair, Row


def run(laboratory: Laboratory) -> list[Row]:
    """Runs a student per group of tasks, and the best-advised one under a teacher of these tasks alone."""
    deployment = laboratory.deployment
    pet, both = tasks_of(deployment, ("pet",)), tasks_of(deployment, ("pet", "pst"))
    every = tuple(name for name in deployment.student.tasks if name in deployment.teacher.tasks)
    teachers = (TeacherArm("teacher", width=2.0), TeacherArm("teacher-pet+pst", width=2.0, tasks=both))
    students = (
        StudentArm("pet", teacher="teacher", strategy="auxiliary", tasks=pet),
        StudentArm("pet+pst", teacher="teacher", strategy="auxiliary", tasks=both),
        StudentArm("all", teacher="teacher", strategy="auxiliary", tasks=every),
        StudentArm("pet+pst-dropped", teacher="teacher-pet+pst", strategy="auxiliary", tasks=both),
    )
    arms = laboratory.run_teachers(teachers) | laboratory.run_students((CONTROL, *students))
    pairs = [Pair(student.name, CONTROL.name, student.teacher) for student in students]
    dropped = [Pair("pet+pst-dropped", "pet+pst"), Pair("teacher-pet+pst", "teacher")]
    return laboratory.compare("objectives", arms, [*pairs, *dropped])
