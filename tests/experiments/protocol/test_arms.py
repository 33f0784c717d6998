import dataclasses

from experiments.protocol.arms import CONTROL, StudentArm, TeacherArm, scale_widths, with_surface_feature
from experiments.protocol.tuning import Hyperparameters
from experiments.tables.strategy import STUDENTS, pairs, students_of
from models.job import graph_settings

POINT = Hyperparameters(learning_rate=0.05, passes=3, input_dropout=0.2, soft_weight=4.0)


def test_widths_are_multiplied_and_depths_stay(deployment):
    architecture = scale_widths(deployment.student.architecture, 4.0)
    assert (architecture.embedding_size, architecture.trunk, architecture.tower) == (16, (32,), ())


def test_a_teacher_has_only_the_stabilisers_that_its_arm_names(deployment):
    model = dataclasses.replace(
        deployment.teacher,
        optimizer=dataclasses.replace(deployment.teacher.optimizer, warm_up_steps=50, clippy=True),
        architecture=dataclasses.replace(deployment.teacher.architecture, activation_clip=10.0),
    )
    deployed = dataclasses.replace(deployment, teacher=model)
    naive = TeacherArm("naive", 2.0, stabilisers=()).job(deployed, 0, 64, POINT)
    assert (naive.optimizer.warm_up_steps, naive.optimizer.clippy) == (0, False)
    assert naive.architecture.activation_clip is None
    full = TeacherArm("all", 2.0).job(deployed, 0, 64, POINT)
    assert (full.optimizer.warm_up_steps, full.optimizer.clippy) == (50, True)
    assert full.architecture.activation_clip == 10.0


def test_a_teacher_without_history_has_the_features_of_the_student(deployment):
    job = TeacherArm("plain", 1.0, history=False, tasks=("click",)).job(deployment, 3, 64, POINT)
    assert tuple(job.features) == deployment.student.features
    assert tuple(job.tasks) == ("click",) and job.seed == 3 and job.role == "teacher"


def test_a_surface_s_own_student_is_not_used(deployment):
    own = dataclasses.replace(deployment.student, features=("hour",))
    name, surface = next(iter(deployment.surfaces.items()))
    surfaces = deployment.surfaces | {name: dataclasses.replace(surface, student=own)}
    changed = dataclasses.replace(deployment, surfaces=surfaces)
    assert CONTROL.job(changed, 1, 64, POINT) == CONTROL.job(deployment, 1, 64, POINT)


def test_student_and_control_differ_only_in_role_and_soft_losses(deployment):
    arm = StudentArm("a", teacher="t", strategy="auxiliary", trunk_gradient_scale=0.3, temperature=2.0)
    student, control = arm.job(deployment, 1, 64, POINT), CONTROL.job(deployment, 1, 64, POINT)
    assert dataclasses.replace(student, role="control", distillation={}) == control
    click, watch = student.distillation["click"], student.distillation["watch_time"]
    assert (click.weight, click.temperature, click.trunk_gradient_scale) == (4.0, 2.0, 0.3)
    assert watch.temperature == 1.0
    assert (student.passes, student.optimizer.learning_rate) == (3, 0.05)
    assert student.architecture.input_dropout == 0.2


def test_the_weight_of_a_soft_loss_includes_the_weight_of_its_task(deployment):
    tasks = {**deployment.tasks, "ltv": dataclasses.replace(deployment.tasks["ltv"], weight=0.25)}
    weighted = dataclasses.replace(deployment, tasks=tasks)
    job = StudentArm("a", teacher="t", strategy="direct").job(weighted, 1, 64, POINT)
    assert (job.distillation["ltv"].weight, job.distillation["click"].weight) == (1.0, 4.0)
    assert job.tasks["ltv"].weight == 0.25


def test_arms_that_distil_different_tasks_share_a_graph(deployment):
    both, click = (
        StudentArm(
            "a", teacher="t", strategy="direct", tasks=("click", *more), zero_weight_tasks=zero_weight_tasks
        )
        for more, zero_weight_tasks in ((("ltv",), ()), ((), ("ltv",)))
    )
    job = click.job(deployment, 1, 64, POINT)
    assert (job.distillation["click"].weight, job.distillation["ltv"].weight) == (4.0, 0.0)
    assert graph_settings(job) == graph_settings(both.job(deployment, 1, 64, POINT))


def test_the_value_loss_applies_to_regressions_only(deployment):
    tasks = dataclasses.replace(CONTROL, value_loss="ziln").job(deployment, 1, 64, POINT).tasks
    assert {name for name, task in tasks.items() if task.loss == "ziln"} == {"watch_time", "ltv"}


def test_a_model_of_all_surfaces_has_the_surface_as_a_feature(deployment):
    job = CONTROL.job(deployment, 0, 64, POINT)
    assert "surface" not in job.features
    with_surface = with_surface_feature(job, deployment)
    assert "surface" in with_surface.features
    assert with_surface_feature(with_surface, deployment) == with_surface


def test_every_student_is_compared_with_the_control_and_the_primary_arm_with_its_placebo():
    compared = {(pair.arm, pair.versus) for pair in pairs()}
    for arm in STUDENTS:
        assert arm.name == "control" or (arm.name, "control") in compared
    assert {("auxiliary-logit", "placebo"), ("auxiliary-logit", "direct")} < compared
    assert ("direct", "placebo-direct") in compared


def with_student(deployment, tower, **changes):
    architecture = dataclasses.replace(deployment.student.architecture, tower=tower)
    student = dataclasses.replace(deployment.student, architecture=architecture, **changes)
    return dataclasses.replace(deployment, student=student)


def test_a_deployment_without_tower_and_regression_has_no_arms_that_need_them(deployment):
    distilled = {"click": deployment.student.distillation["click"]}
    plain = with_student(deployment, (), tasks=("click",), distillation=distilled)
    students = students_of(plain)
    assert {arm.name for arm in STUDENTS if arm not in students} == {
        "auxiliary-tower", "auxiliary-ziln", "control-ziln",
    }  # fmt: skip
    for arm in students:
        arm.job(plain, 0, 64, POINT)
    names = {arm.name for arm in students} | {"teacher", "teacher-same-size"}
    assert {name for pair in pairs(students) for name in (pair.arm, pair.versus)} == names
    assert students_of(with_student(deployment, (8,))) == STUDENTS
