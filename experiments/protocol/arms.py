"""What is compared: teachers by size, inputs and tasks, and students by the way they are distilled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from eventlog.rows import SURFACE
from experiments.protocol.tuning import Point
from models.architecture import Architecture
from models.distillation import Distillation
from models.job import TrainingJob
from models.tasks import Task
from pipeline.config import Deployment

STABILISERS = ("warm-up", "activation-clip", "clippy")


@dataclasses.dataclass(frozen=True)
class TeacherArm:
    """A teacher.

    Attributes:
        name: as in the results.
        width: its layers' and embeddings' widths, in widths of the student's.
        history: whether it sees the deployment's teacher's features, or the student's alone.
        tasks: the tasks it learns; None for all of the deployment's.
        per_surface: whether every surface has a teacher of its own.
        age: so many spans its labels are older than they need be.
        like: name of the arm whose choices it takes; None is tuned itself.
        stabilisers: which of the deployment's it has.
    """

    name: str
    width: float
    history: bool = True
    tasks: tuple[str, ...] | None = None
    per_surface: bool = False
    age: int = 0
    like: str | None = None
    stabilisers: tuple[str, ...] = STABILISERS

    def job(self, deployment: Deployment, seed: int, batch_size: int, point: Point) -> TrainingJob:
        """What is trained."""
        model = deployment.teacher_job()
        student = deployment.student
        names = deployment.teacher.features if self.history else student.features
        tasks = self.tasks or tuple(model.tasks)
        optimizer = dataclasses.replace(
            model.optimizer,
            learning_rate=point.learning_rate,
            warm_up_steps=model.optimizer.warm_up_steps if "warm-up" in self.stabilisers else 0,
            clippy=model.optimizer.clippy and "clippy" in self.stabilisers,
        )
        clip = model.architecture.activation_clip if "activation-clip" in self.stabilisers else None
        sizes = scaled(student.architecture, self.width)
        return dataclasses.replace(
            model,
            seed=seed,
            features={name: deployment.features[name] for name in names},
            tasks={name: task for name, task in model.tasks.items() if name in tasks},
            architecture=dataclasses.replace(sizes, input_dropout=point.input_dropout, activation_clip=clip),
            optimizer=optimizer,
            batch_size=batch_size,
            passes=point.passes,
        )


@dataclasses.dataclass(frozen=True)
class StudentArm:
    """A student, or the control.

    Attributes:
        name: as in the results.
        teacher: name of the teacher's arm; nothing for the control.
        strategy: of every distilled task.
        head: of an auxiliary soft head.
        treatment: of the soft labels, see `experiments.trials.trial.SoftLabelSource`.
        trunk_gradient_scale: see `models.distillation.Distillation`.
        temperature: of the binary tasks.
        tasks: the tasks distilled; None for those that the deployment distils.
        unweighed: tasks with a soft loss of weight 0. They teach nothing, but arms that distil different
            tasks share a graph, which is traced once.
        value_loss: of the regressions' hard heads, see `models.tasks.Task`.
        bias: the dial, see `experiments.trials.trial.SoftLabelSource`.
        like: name of the arm whose choices it takes; None is tuned itself.
    """

    name: str
    teacher: str = ""
    strategy: Literal["none", "direct", "auxiliary"] = "none"
    head: Literal["logit", "tower"] = "logit"
    treatment: Literal["none", "permuted", "calibrated"] = "none"
    trunk_gradient_scale: float = 1.0
    temperature: float = 1.0
    tasks: tuple[str, ...] | None = None
    unweighed: tuple[str, ...] = ()
    value_loss: Literal["squared", "ziln"] = "squared"
    bias: float = 0.0
    like: str | None = None

    def job(self, deployment: Deployment, seed: int, batch_size: int, point: Point) -> TrainingJob:
        """What is trained: one job over all surfaces; only the control's role differs from the student's."""
        surface = next(iter(deployment.surfaces))
        model = deployment.student_job(surface) if self.teacher else deployment.control_job(surface)
        return dataclasses.replace(
            model,
            surface=None,
            seed=seed,
            tasks={name: self._task(task) for name, task in model.tasks.items()},
            distillation=self._distillation(deployment, point),
            architecture=dataclasses.replace(model.architecture, input_dropout=point.input_dropout),
            optimizer=dataclasses.replace(model.optimizer, learning_rate=point.learning_rate),
            batch_size=batch_size,
            passes=point.passes,
        )

    def _task(self, task: Task) -> Task:
        return dataclasses.replace(task, loss=self.value_loss) if task.kind == "regression" else task

    def _distillation(self, deployment: Deployment, point: Point) -> dict[str, Distillation]:
        if not self.teacher:
            return {}
        names = deployment.student.distillation if self.tasks is None else self.tasks
        return {
            name: Distillation(
                strategy=self.strategy,
                head=self.head,
                weight=0.0 if name in self.unweighed else point.soft_weight * deployment.tasks[name].weight,
                temperature=self.temperature if deployment.tasks[name].kind == "binary" else 1.0,
                trunk_gradient_scale=self.trunk_gradient_scale,
            )
            for name in (*names, *self.unweighed)
        }


CONTROL = StudentArm("control")


def for_all_surfaces(job: TrainingJob, deployment: Deployment) -> TrainingJob:
    """The job with the surface among its features: one model of all must know where it ranks.

    Without it the control would lack what the teacher has for nothing, and distillation would seem to help.
    """
    if SURFACE in job.features or SURFACE not in deployment.features:
        return job
    return dataclasses.replace(job, features={**job.features, SURFACE: deployment.features[SURFACE]})


def scaled(architecture: Architecture, width: float) -> Architecture:
    """An architecture with all its widths multiplied, none below 1."""

    def wider(size: int) -> int:
        return max(1, round(size * width))

    return dataclasses.replace(
        architecture,
        embedding_size=wider(architecture.embedding_size),
        trunk=tuple(map(wider, architecture.trunk)),
        tower=tuple(map(wider, architecture.tower)),
    )


def tasks_of(deployment: Deployment, groups: Sequence[str]) -> tuple[str, ...]:
    """The student's tasks of these groups that the teacher predicts too."""
    return tuple(
        name
        for name in deployment.student.tasks
        if deployment.tasks[name].group in groups and name in deployment.teacher.tasks
    )
