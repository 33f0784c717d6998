"""The configurations that `rankdistill advise` considers; the first is the paper's advice.

Reference: Khani et al., RecSys '24: start with a teacher of twice the student's width, and distil the
engagement (PET) and satisfaction (PST) tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from experiments.protocol.arms import StudentArm, TeacherArm, distillable_tasks
from pipeline.config import Deployment

WIDTHS = (2.0, 1.0, 4.0)
WEIGHTS = (1.0, 4.0)
GROUPS = {"pet+pst": ("pet", "pst"), "pet": ("pet",), "all": ("pet", "pst", "other")}
STRATEGIES: tuple[Literal["auxiliary", "direct"], ...] = ("auxiliary", "direct")


@dataclass(frozen=True)
class Proposal:
    """A teacher width and a distillation of the student.

    Attributes:
        width: the teacher's width, as a multiple of the student's.
        groups: the distilled task groups, as a key of `GROUPS`.
        strategy: the strategy of all distilled tasks.
        weight: a distilled task's soft loss has the factor `weight` times the task's weight.
    """

    width: float
    groups: str
    strategy: Literal["auxiliary", "direct"]
    weight: float

    @property
    def name(self) -> str:
        """Name in progress lines and results."""
        return f"{self.strategy} {self.groups} of {self.width:g}x, weight {self.weight:g}"

    @property
    def teacher(self) -> TeacherArm:
        """The teacher's arm."""
        return TeacherArm(f"teacher-{self.width:g}x", width=self.width)

    def student(self, deployment: Deployment) -> StudentArm:
        """The student's arm, without `weight`: this is a hyperparameter of the trial (`soft_weight`).

        A task outside `groups` gets a soft loss of weight 0, which does not affect training. So the arms of
        all proposals with one strategy share one traced graph.
        """
        tasks = distillable_tasks(deployment, GROUPS[self.groups])
        all_tasks = distillable_tasks(deployment, GROUPS["all"])
        return StudentArm(
            self.name, teacher=self.teacher.name, strategy=self.strategy, tasks=tasks,
            zero_weight_tasks=tuple(name for name in all_tasks if name not in tasks),
        )  # fmt: skip


def proposals() -> list[Proposal]:
    """All proposals; the first is the paper's advice."""
    return [
        Proposal(width, groups, strategy, weight)
        for width in WIDTHS
        for groups in GROUPS
        for strategy in STRATEGIES
        for weight in WEIGHTS
    ]
