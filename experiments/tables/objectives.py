"""Experiment `objectives`: which tasks to distil, and whether the teacher should train on other tasks too.

Reference: Khani et al., RecSys '24, Table 3 (engagement tasks; engagement and satisfaction tasks; all tasks).
"""

from __future__ import annotations

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm, distillable_tasks
from experiments.statistics.comparison import ArmPair, ResultRow


def run(runner: ArmRunner) -> list[ResultRow]:
    """Runs a student for each set of distilled tasks.

    The teacher of `pet+pst-dropped` trains on the distilled tasks alone; its other tasks are dropped.
    """
    deployment = runner.deployment
    pet, pet_and_pst = distillable_tasks(deployment, ("pet",)), distillable_tasks(deployment, ("pet", "pst"))
    all_tasks = tuple(name for name in deployment.student.tasks if name in deployment.teacher.tasks)
    teachers = (
        TeacherArm("teacher", width=2.0),
        TeacherArm("teacher-pet+pst", width=2.0, tasks=pet_and_pst),
    )
    students = (
        StudentArm("pet", teacher="teacher", strategy="auxiliary", tasks=pet),
        StudentArm("pet+pst", teacher="teacher", strategy="auxiliary", tasks=pet_and_pst),
        StudentArm("all", teacher="teacher", strategy="auxiliary", tasks=all_tasks),
        StudentArm("pet+pst-dropped", teacher="teacher-pet+pst", strategy="auxiliary", tasks=pet_and_pst),
    )
    arms = runner.run(teachers) | runner.run((CONTROL, *students))
    student_pairs = [ArmPair(student.name, CONTROL.name, student.teacher) for student in students]
    dropped_pairs = [ArmPair("pet+pst-dropped", "pet+pst"), ArmPair("teacher-pet+pst", "teacher")]
    return runner.compare("objectives", arms, [*student_pairs, *dropped_pairs])
