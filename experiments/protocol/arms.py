"""Arms of an experiment (teachers, distilled students and the control) and their training jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from eventlog.rows import SURFACE
from experiments.protocol.tuning import Hyperparameters
from models.architecture import Architecture
from models.distillation import Distillation
from models.job import TrainingJob
from models.tasks import Task
from pipeline.config import Deployment

STABILISERS = ("warm-up", "activation-clip", "clippy")
"""Names of settings against divergence of a teacher's training."""


@dataclasses.dataclass(frozen=True)
class TeacherArm:
    """An arm that trains a teacher.

    Attributes:
        name: the arm's name in the results.
        width: factor of the student's layer and embedding widths.
        history: True uses the features of the deployment's teacher, False those of its student.
        tasks: the teacher's tasks; None for all tasks of the deployment's teacher.
        per_surface: True trains a separate teacher for each surface.
        extra_label_age: number of spans added to the label age.
        hyperparameters_of: name of the arm whose tuned hyperparameters are used; None tunes this arm.
        stabilisers: names in `STABILISERS`; the deployment's other stabilisers are switched off.
    """

    name: str
    width: float
    history: bool = True
    tasks: tuple[str, ...] | None = None
    per_surface: bool = False
    extra_label_age: int = 0
    hyperparameters_of: str | None = None
    stabilisers: tuple[str, ...] = STABILISERS

    def job(self, deployment: Deployment, seed: int, batch_size: int, point: Hyperparameters) -> TrainingJob:
        """The deployment's teacher job with this arm's settings and the hyperparameters of `point`.

        The layers are those of the deployment's student, scaled by `width`.
        """
        job = deployment.teacher_job()
        student = deployment.student
        names = deployment.teacher.features if self.history else student.features
        tasks = self.tasks or tuple(job.tasks)
        optimizer = dataclasses.replace(
            job.optimizer,
            learning_rate=point.learning_rate,
            warm_up_steps=job.optimizer.warm_up_steps if "warm-up" in self.stabilisers else 0,
            clippy=job.optimizer.clippy and "clippy" in self.stabilisers,
        )
        clip = job.architecture.activation_clip if "activation-clip" in self.stabilisers else None
        sizes = scale_widths(student.architecture, self.width)
        return dataclasses.replace(
            job,
            seed=seed,
            features={name: deployment.features[name] for name in names},
            tasks={name: task for name, task in job.tasks.items() if name in tasks},
            architecture=dataclasses.replace(sizes, input_dropout=point.input_dropout, activation_clip=clip),
            optimizer=optimizer,
            batch_size=batch_size,
            passes=point.passes,
        )


@dataclasses.dataclass(frozen=True)
class StudentArm:
    """An arm that trains a student, or the control.

    Attributes:
        name: the arm's name in the results.
        teacher: name of the teacher's arm; empty for a control.
        strategy: the strategy of every distilled task.
        head: kind of an auxiliary soft head, see `models.distillation.Distillation`.
        treatment: see `experiments.trials.trial.SoftLabelSource`.
        trunk_gradient_scale: see `models.distillation.Distillation`.
        temperature: softens the distributions of binary tasks, see `models.distillation.Distillation`.
        tasks: the distilled tasks; None for the tasks that the deployment distils.
        zero_weight_tasks: tasks with a soft loss of weight 0, which does not affect training. With them, arms
            that distil different tasks share one traced graph.
        value_loss: loss of the hard heads of regression tasks, see `models.tasks.Task`.
        bias: see `experiments.trials.trial.SoftLabelSource`.
        hyperparameters_of: name of the arm whose tuned hyperparameters are used; None tunes this arm.
    """

    name: str
    teacher: str = ""
    strategy: Literal["none", "direct", "auxiliary"] = "none"
    head: Literal["logit", "tower"] = "logit"
    treatment: Literal["none", "permuted", "calibrated"] = "none"
    trunk_gradient_scale: float = 1.0
    temperature: float = 1.0
    tasks: tuple[str, ...] | None = None
    zero_weight_tasks: tuple[str, ...] = ()
    value_loss: Literal["squared", "ziln"] = "squared"
    bias: float = 0.0
    hyperparameters_of: str | None = None

    def job(self, deployment: Deployment, seed: int, batch_size: int, point: Hyperparameters) -> TrainingJob:
        """The deployment's student or control job with this arm's settings and `point`'s hyperparameters.

        The jobs of a student and the control differ only in role and soft losses. `surface` is None. A
        surface's own `student` is not used: one arm has the same settings on all surfaces.
        """
        surface, settings = next(iter(deployment.surfaces.items()))
        deployment = dataclasses.replace(
            deployment, surfaces={surface: dataclasses.replace(settings, student=None)}
        )
        job = deployment.student_job(surface) if self.teacher else deployment.control_job(surface)
        return dataclasses.replace(
            job,
            surface=None,
            seed=seed,
            tasks={name: self._task(task) for name, task in job.tasks.items()},
            distillation=self._distillation(deployment, point),
            architecture=dataclasses.replace(job.architecture, input_dropout=point.input_dropout),
            optimizer=dataclasses.replace(job.optimizer, learning_rate=point.learning_rate),
            batch_size=batch_size,
            passes=point.passes,
        )

    def _task(self, task: Task) -> Task:
        return dataclasses.replace(task, loss=self.value_loss) if task.kind == "regression" else task

    def _distillation(self, deployment: Deployment, point: Hyperparameters) -> dict[str, Distillation]:
        if not self.teacher:
            return {}
        names = deployment.student.distillation if self.tasks is None else self.tasks
        return {
            name: Distillation(
                strategy=self.strategy,
                head=self.head,
                weight=0.0
                if name in self.zero_weight_tasks
                else point.soft_weight * deployment.tasks[name].weight,
                temperature=self.temperature if deployment.tasks[name].kind == "binary" else 1.0,
                trunk_gradient_scale=self.trunk_gradient_scale,
            )
            for name in (*names, *self.zero_weight_tasks)
        }


CONTROL = StudentArm("control")


def with_surface_feature(job: TrainingJob, deployment: Deployment) -> TrainingJob:
    """Adds the surface to the features of a model of all surfaces, if the deployment has that feature.

    Without it, the control would lack information that the teacher has, and distillation would seem to help.
    """
    if SURFACE in job.features or SURFACE not in deployment.features:
        return job
    return dataclasses.replace(job, features={**job.features, SURFACE: deployment.features[SURFACE]})


def scale_widths(architecture: Architecture, width: float) -> Architecture:
    """Multiplies the widths of all layers and embeddings by `width`; rounds them to at least 1."""

    def scale(size: int) -> int:
        return max(1, round(size * width))

    return dataclasses.replace(
        architecture,
        embedding_size=scale(architecture.embedding_size),
        trunk=tuple(map(scale, architecture.trunk)),
        tower=tuple(map(scale, architecture.tower)),
    )


def distillable_tasks(deployment: Deployment, groups: Sequence[str]) -> tuple[str, ...]:
    """The names of the student's tasks in `groups` that are also tasks of the teacher."""
    return tuple(
        name
        for name in deployment.student.tasks
        if deployment.tasks[name].group in groups and name in deployment.teacher.tasks
    )
