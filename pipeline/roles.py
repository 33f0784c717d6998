"""Settings of the teacher, of the students, of their surfaces and of the ranking."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import TypeVar

from components.evaluation.push_gate import PushRule
from components.label_store.resolving import LabelSource
from components.transforms.join_settings import WithoutLabels
from models.distillation import Distillation
from models.job import Architecture, Optimizer
from models.settings import Count, Natural, NonNegative, Share, settings
from models.tasks import Task

T = TypeVar("T")


@settings
class Teacher:
    """The large model. It trains on the examples of all surfaces and labels them.

    Attributes:
        name: Part of every label set's key. Teachers with different names can label the same span.
        features: Names among the deployment's features.
        tasks: Names among the deployment's tasks; each becomes a column `soft_<task>`.
        architecture: Its layers.
        optimizer: Its optimizer and stabilisers.
        batch_size: Examples per step.
        passes: Passes over each span, also during burn-in.
    """

    name: str
    features: tuple[str, ...]
    tasks: tuple[str, ...]
    architecture: Architecture
    optimizer: Optimizer
    batch_size: Count
    passes: Count


@settings
class Student:
    """The small model of one surface. Its control is the same model without `distillation`.

    Attributes:
        features: Names among the deployment's features; the serving signature has exactly these.
        tasks: Names among the deployment's tasks.
        distillation: Distillation settings by task; a task without an entry trains on hard labels only.
        architecture: Its layers.
        optimizer: Its optimizer and stabilisers.
        batch_size: Examples per step.
        passes: Passes over each span, also during burn-in.
    """

    features: tuple[str, ...]
    tasks: tuple[str, ...]
    architecture: Architecture
    optimizer: Optimizer
    batch_size: Count
    passes: Count
    distillation: dict[str, Distillation] = dataclasses.field(default_factory=dict)


@settings
class Surface:
    """One surface with its own student and control.

    Attributes:
        coverage_floor: Minimum share of the span's fresh rows with a soft label, in [0, 1].
        without_labels: What the surface does if labels are missing, too old, or below the coverage floor.
            `stop`: its branch waits for labels. `hard-only`: of fresh rows it trains on hard labels only.
                `last`: it keeps
            the last models and does not train on the span.
        label_wait_seconds: How long a surface in a loop without the teacher waits for a span's labels, in
            seconds after the span's arrival in the event log. Then `without_labels` applies.
        first_spans: First spans `A:B` of a new surface, after the teacher's burn-in. Its student trains on
            the existing label sets of these spans; on a span without labels it trains on hard labels only.
            None: the surface begins right after the burn-in.
        burn_in: Student and control first train on the burn-in's spans, on hard labels only. False: they are
            untrained when their first soft labels arrive.
        control_every: The control trains at spans whose number is a multiple of this, on all spans since its
            last training. 0: there is no control.
        was: Earlier name of a renamed surface; only one. In a root in which that surface has run, student,
            control and served model go on under the new name, from the next span on. None: a new surface.
        push: The gate between a blessed student and serving; None: every blessed student is pushed.
        student: The student of this surface. None: the deployment's `student`.
        labels: Selects the label sets that the student reads; default: those of the deployment's own teacher.
            Each teacher's labels have separate pins, so a surface can switch to another teacher and back.
    """

    coverage_floor: Share = 0.95
    without_labels: WithoutLabels = "stop"
    label_wait_seconds: NonNegative = 600.0
    first_spans: str | None = None
    burn_in: bool = True
    control_every: Natural = 1
    was: str | None = None
    push: PushRule | None = None
    student: Student | None = None
    labels: LabelSource = dataclasses.field(default_factory=LabelSource)


@settings
class Ranking:
    """Weights by which surfaces rank, and measures of a ranking. Only `rankdistill online` reads them.

    Attributes:
        weights: Task → weight of its prediction in the score by which the items of a visit are ranked.
        measures: Name of a measure → task → weight. A measure is the weighted sum of the outcomes of the
            shown items. The outcome of a task with a unit such as `log1p_seconds` is counted in seconds.
    """

    weights: dict[str, float]
    measures: dict[str, dict[str, float]]

    def check(self, tasks: Mapping[str, Task]) -> None:
        """Raises ValueError if weights name no task, a delayed task, or a task that is not among `tasks`."""
        named = {"ranking.weights": self.weights}
        named |= {f"ranking.measures.{name}": weights for name, weights in self.measures.items()}
        for key, weights in named.items():
            if not weights:
                raise ValueError(f"{key} must name at least one task, got none.")
            for name, task in select_declared(key, tuple(weights), tasks).items():
                if task.delayed:
                    raise ValueError(f"{key} must not name a delayed task, got {name!r}.")


def select_declared(key: str, names: tuple[str, ...], declared: Mapping[str, T]) -> dict[str, T]:
    """The declared features or tasks with these names.

    Raises:
        ValueError: at a name that is not declared or occurs twice; the message begins with `key`.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{key} names {name!r} once, got it twice. Remove one.")
        if name not in declared:
            near = difflib.get_close_matches(name, list(declared), n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"declared are {sorted(declared)}."
            raise ValueError(f"{key} names {name!r}, which is not declared; {fix}")
    return {name: declared[name] for name in names}
