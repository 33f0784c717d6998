"""What may be advised, the paper's own advice first.

Reference: Khani et al., RecSys '24: begin at twice the student's size, with engagement and satisfaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from experiments.protocol.arms import StudentArm, TeacherArm, tasks_of
from pipeline.config import Deployment

WIDTHS = (2.0, 1.0, 4.0)
WEIGHTS = (1.0, 4.0)
GROUPS = {"pet+pst": ("pet", "pst"), "pet": ("pet",), "all": ("pet", "pst", "other")}
STRATEGIES: tuple[Literal["auxiliary", "direct"], ...] = ("auxiliary", "direct")


@dataclass(frozen=True)
class Candidate:
    """One way to distil.

    Attributes:
        width: of the teacher, in widths of the student.
        groups: name of the groups of tasks that are distilled.
        strategy: of them all.
        weight: of the soft losses.
    """

    width: float
    groups: str
    strategy: Literal["auxiliary", "direct"]
    weight: float

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.strategy} {self.groups} of {self.width:g}x, weight {self.weight:g}"

    @property
    def teacher(self) -> TeacherArm:
        """The teacher's arm."""
        return TeacherArm(f"teacher-{self.width:g}x", width=self.width)

    def student(self, deployment: Deployment) -> StudentArm:
        """The student's arm; all of one strategy share a graph."""
        tasks = tasks_of(deployment, GROUPS[self.groups])
        every = tasks_of(deployment, GROUPS["all"])
        return StudentArm(
            self.name, teacher=self.teacher.name, strategy=self.strategy, tasks=tasks,
            unweighed=tuple(name for name in every if name not in tasks),
        )  # fmt: skip


def candidates() -> list[Candidate]:
    """All of them; the first is the paper's advice."""
    return [
        Candidate(width, groups, strategy, weight)
        for width in WIDTHS
        for groups in GROUPS
        for strategy in STRATEGIES
        for weight in WEIGHTS
    ]
