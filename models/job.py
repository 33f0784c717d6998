"""Settings of one training run: role, surface, features, tasks, distillation, architecture, optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from models.architecture import Architecture
from models.distillation import Distillation
from models.features import Feature
from models.optimizers import Optimizer
from models.settings import settings
from models.tasks import Task

__all__ = ["Architecture", "Optimizer", "TrainingJob", "graph_settings"]


@settings
class TrainingJob:
    """Settings for the training of one model.

    Attributes:
        role: role of the model. The control is a student without distillation.
        surface: the one surface that the model ranks for; None for all.
        seed: seed of initial values, dropout and the order of examples; equal for a student and its control.
        features: this model's features by raw column. No other column is parsed or served.
        tasks: tasks by name, in the order of every `[batch, tasks]` tensor.
        distillation: distillation by task; a task without an entry has strategy `none`.
        architecture: layers and embeddings.
        optimizer: the optimizer and its settings.
        batch_size: number of examples per step.
        passes: number of passes over each span.
    """

    role: Literal["teacher", "student", "control"]
    surface: str | None
    seed: int
    features: dict[str, Feature]
    tasks: dict[str, Task]
    distillation: dict[str, Distillation]
    architecture: Architecture
    optimizer: Optimizer
    batch_size: int
    passes: int

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError(f"a {self.role} needs at least one task, got none. Add one under tasks.")
        if not self.features:
            raise ValueError(f"a {self.role} needs at least one feature, got none. Add one under features.")
        if all(feature.served_as is not None for feature in self.features.values()):
            raise ValueError(
                f"a {self.role} needs a feature without served_as, got {sorted(self.features)}. "
                "Its predictions would be the same for all rows."
            )
        if self.batch_size < 1 or self.passes < 1:
            raise ValueError(f"batch_size and passes must be >= 1, got {self.batch_size} and {self.passes}.")
        _check_names("task", self.tasks)
        _check_names("feature", self.features)
        self._check_distillation()

    def _check_distillation(self) -> None:
        if self.role != "student" and self.distillation:
            raise ValueError(
                f"a {self.role} is not distilled: expected no distillation, got {sorted(self.distillation)}. "
                'Remove it or use role "student".'
            )
        for name, distillation in self.distillation.items():
            if name not in self.tasks:
                raise ValueError(
                    f'the distilled task "{name}" is unknown: expected one of {sorted(self.tasks)}. '
                    "Add it under tasks or remove its distillation."
                )
            if distillation.head == "tower" and not self.architecture.tower:
                raise ValueError(
                    f'head "tower" of distilled task "{name}" needs a tower: expected widths under '
                    'architecture.tower, got none. Add some or use head "logit".'
                )
            if self.tasks[name].kind == "regression" and distillation.temperature != 1:
                raise ValueError(
                    f'temperature of regression task "{name}" must be 1, got {distillation.temperature}: '
                    "an expected value has no distribution to soften. Remove it."
                )

    @property
    def distilled_tasks(self) -> tuple[str, ...]:
        """The tasks with a soft loss, whose soft labels are read, in the order of `tasks`."""
        return tuple(name for name in self.tasks if self._strategy(name) != "none")

    @property
    def auxiliary_tasks(self) -> tuple[str, ...]:
        """The tasks with a separate soft head, in the order of `tasks`."""
        return tuple(name for name in self.tasks if self._strategy(name) == "auxiliary")

    def _strategy(self, task: str) -> str:
        return self.distillation[task].strategy if task in self.distillation else "none"


def graph_settings(job: TrainingJob) -> TrainingJob:
    """The job with seed, passes, learning rate and soft weights set to constants.

    Jobs whose `graph_settings` are equal can share one traced graph.
    """
    return dataclasses.replace(
        job,
        seed=0,
        passes=1,
        optimizer=dataclasses.replace(job.optimizer, learning_rate=1.0),
        distillation={
            name: dataclasses.replace(distillation, weight=1.0)
            for name, distillation in job.distillation.items()
        },
    )


def _check_names(kind: str, names: Iterable[str]) -> None:
    for name in names:
        if not name.isidentifier():
            raise ValueError(
                f"{kind} names are column names: expected letters, digits and _, with no digit "
                f'at the start, got "{name}". Rename it.'
            )
