"""One YAML file per deployment, into frozen settings. Every key is read; an unknown one is refused.

The pieces are declared beside the code they configure (`models/`); here they are composed, and what must
agree between them is checked. Importing this module does not import TensorFlow or TFX.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from components.evaluation.label_checks import LabelChecks
from components.evaluation.push_gate import PushRule
from components.label_store.resolving import LabelSource
from eventlog.errors import BadInput
from eventlog.spans import parse_range
from models.distillation import Distillation
from models.features import Feature
from models.job import Architecture, Optimizer, TrainingJob
from models.settings import settings, to_json
from models.tasks import Task
from pipeline.cluster import Cluster, Step

# A teacher is many times a student's size, and trains on every surface's rows.
_STEPS = {"Trainer": Step(cpus=4, memory_gib=8), "Trainer_teacher": Step(cpus=8, memory_gib=32)}
Severity = Literal["stop", "warn"]
WithoutLabels = Literal["stop", "hard-only", "last"]


@settings
class Teacher:
    """The one big model: it trains on all surfaces and labels for everybody.

    Attributes:
        name: Part of every label set's key; two teachers may label side by side.
        features: Names among the deployment's features, history included by default.
        tasks: Names among the deployment's tasks; each becomes a `soft_<task>` column.
        passes: Passes over each span, burn-in included.
    """

    name: str
    features: tuple[str, ...]
    tasks: tuple[str, ...]
    architecture: Architecture
    optimizer: Optimizer
    batch_size: int
    passes: int


@settings
class Student:
    """A small model of one surface; its control is the same without `distillation`.

    Attributes:
        features: Names among the deployment's features; the serving signature asks for these alone.
        tasks: Names among the deployment's tasks.
        distillation: Per task; a task not named learns from its hard label alone.
        passes: Passes over each span.
    """

    features: tuple[str, ...]
    tasks: tuple[str, ...]
    architecture: Architecture
    optimizer: Optimizer
    batch_size: int
    passes: int
    distillation: dict[str, Distillation] = dataclasses.field(default_factory=dict)


@settings
class Surface:
    """One place where the ranking is shown, with a student and a control of its own.

    Attributes:
        coverage_floor: Least share of the span's fresh rows that must have a soft label, in [0, 1].
        without_labels: What follows where coverage is below the floor, labels are too old, or there are none:
            `stop` the surface's branch until they come, train it `hard-only`, or keep the `last` models and
            learn nothing of the span.
        label_wait_seconds: How long after a span has come into the log a surface that runs apart from the
            teacher waits for its labels, before it goes by `without_labels`.
        bootstrap: Spans `A:B` behind the teacher's burn-in with which a new surface begins, learning past
            label sets; one that has no labels is trained hard-only. None: it begins behind the burn-in.
        control_every: The control is trained every so many spans, on all spans since; 0 switches it off.
        push: The gate between a blessed student and serving; None: the candidate check is all.
        student: Replaces the deployment's student for this surface.
        labels: Which label sets its student reads; by default those of the deployment's own teacher. Labels
            of another teacher are pinned apart, so that a surface can move to them and back.
    """

    coverage_floor: float = 0.95
    without_labels: WithoutLabels = "stop"
    label_wait_seconds: float = 600.0
    bootstrap: str | None = None
    control_every: int = 1
    push: PushRule | None = None
    student: Student | None = None
    labels: LabelSource = dataclasses.field(default_factory=LabelSource)


@settings
class Validation:
    """What follows when the span's statistics disagree with the schema, by kind of anomaly.

    Attributes:
        schema: A value of the wrong type, outside its domain, missing too often, or an unknown column.
        drift: A distribution that moved since the previous span, by the schema's drift comparators.
        skew: A distribution that left the one on which the feature graph was fitted (skew comparators).
        refused_span: What follows when a span is faulty or stopped by the above: `stop` the loop until it is
            re-stated, or `skip` it: nobody labels or learns it. A span without rows is always skipped.
        late_after_spans: A span that is missing when so many later ones are complete is skipped, and not
            learnt when it comes after all; None waits for ever.
    """

    schema: Severity = "stop"
    drift: Severity = "warn"
    skew: Severity = "warn"
    refused_span: Literal["stop", "skip"] = "stop"
    late_after_spans: int | None = None


@settings
class Evaluation:
    """How models are judged.

    Attributes:
        margin: A candidate's relative loss on the held-out clusters may exceed its predecessor's by this.
        resamples: Bootstrap draws of clusters behind each interval.
        min_positives: Below this many positives no interval is shown.
        tfma: Adds TFX's Evaluator (TFMA slices by hour and activity) per student; slow.
    """

    margin: float = 0.05
    resamples: int = 200
    min_positives: int = 50
    tfma: bool = False


@settings
class Deployment:
    """Everything that one deployment says.

    Attributes:
        name: Names the TFX pipelines.
        seed: Seeds every initializer, shuffle and bootstrap.
        schema: TFMD schema of the event log; relative to the configuration file.
        burn_in: The spans `A:B`, both included, on which features are fitted and the teacher burns in.
        label_with: `previous` labels span N with the teacher that has not trained on it; `current`, after.
        label_store: URI of the store, such as `delta:labels`; a relative path lies under the run's root.
        fleet: The students that read the same label set of a span.
        join: Who joins labels and examples: `beam`, or `bigquery` where the impressions lie there too.
        events_table: The same impressions as the event log's, `PROJECT.DATASET.TABLE`; for `join: bigquery`
            and for `spans_table`.
        spans_table: A table beside it whose rows `span, version` say which spans are complete: the teacher's
            loop watches it and copies them to the event log. None: the log is written by somebody else.
        label_checks: What makes a teacher's labels of a span doubtful, and what follows.
        rows_per_shard: The unit of Beam work.
        beam_pipeline_args: Beam options of every Beam component. FnApiRunner is what DirectRunner ends up
            with here, but only after it has tried to download Prism.
        steps: What single steps are given, by the beginning of their ids; the longest that fits counts, a
            name of the defaults' replaces that one.
        cluster: Where the pipelines run when they do not run on this machine.
    """

    name: str
    seed: int
    schema: str
    burn_in: str
    tasks: dict[str, Task]
    features: dict[str, Feature]
    teacher: Teacher
    student: Student
    surfaces: dict[str, Surface]
    label_with: Literal["previous", "current"] = "previous"
    label_store: str = "delta:labels"
    fleet: str = "students"
    join: Literal["beam", "bigquery"] = "beam"
    events_table: str | None = None
    spans_table: str | None = None
    rows_per_shard: int = 10_000
    validation: Validation = dataclasses.field(default_factory=Validation)
    label_checks: LabelChecks = dataclasses.field(default_factory=LabelChecks)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    beam_pipeline_args: tuple[str, ...] = ("--runner=FnApiRunner",)
    steps: dict[str, Step] = dataclasses.field(default_factory=dict)
    cluster: Cluster = dataclasses.field(default_factory=Cluster)

    def __post_init__(self) -> None:
        """Checks what the parts must agree on.

        Raises:
            ValueError: naming the key, what was expected and what was found.
        """
        try:
            _ = self.burn_in_spans
        except BadInput as error:
            raise ValueError(f"burn_in: {error}") from error
        needs_events = self.join == "bigquery" or self.spans_table is not None
        if needs_events != (self.events_table is not None):
            raise ValueError("events_table goes with join: bigquery or spans_table; give both or neither.")
        if needs_events and not self.label_store.startswith("bigquery:"):
            raise ValueError(f"events_table needs a label_store in BigQuery, got {self.label_store!r}.")
        if not self.surfaces:
            raise ValueError("surfaces must name at least one surface, got none. Add one.")
        self.teacher_job()
        for surface, chosen in self.surfaces.items():
            self._check_surface(surface, chosen)
            for task in self.student_job(surface).distillation:
                if task not in self.teacher.tasks:
                    raise ValueError(
                        f"distillation of {task!r} on {surface} needs the teacher's label, and the teacher "
                        f"learns {sorted(self.teacher.tasks)}. Add it to teacher.tasks."
                    )

    def _check_surface(self, surface: str, chosen: Surface) -> None:
        where = f"surfaces.{surface}"
        if not 0.0 <= chosen.coverage_floor <= 1.0:
            raise ValueError(f"{where}.coverage_floor must be 0 to 1, got {chosen.coverage_floor}.")
        if chosen.control_every < 0:
            raise ValueError(f"{where}.control_every must be >= 0, got {chosen.control_every}.")
        if chosen.bootstrap is not None and parse_range(chosen.bootstrap)[0] <= self.burn_in_spans[-1]:
            raise ValueError(
                f"{where}.bootstrap must lie behind the burn-in {self.burn_in}, got {chosen.bootstrap}: "
                "there are no labels before."
            )
        if chosen.push is not None and chosen.push.task not in self.student_job(surface).tasks:
            raise ValueError(f"{where}.push.task must be a task of the student, got {chosen.push.task!r}.")
        if chosen.push is not None and self.evaluation.resamples * chosen.push.alpha < 1:
            raise ValueError(
                f"{where}.push.alpha {chosen.push.alpha:g} needs at least 1 / alpha evaluation.resamples, "
                f"got {self.evaluation.resamples}."
            )
        if chosen.push is not None and self.tasks[chosen.push.task].delayed:
            raise ValueError(f"{where}.push.task must be known at once, got delayed {chosen.push.task!r}.")

    @property
    def version(self) -> str:
        """12 hex digits, equal for equal settings wherever the files lie and the steps run."""
        settled = dataclasses.replace(self, schema=Path(self.schema).name, steps={}, cluster=Cluster())
        return hashlib.sha256(to_json(settled).encode()).hexdigest()[:12]

    @property
    def all_steps(self) -> dict[str, Step]:
        """`steps` over the defaults, see `pipeline.cluster.step_of`."""
        return _STEPS | self.steps

    @property
    def burn_in_spans(self) -> range:
        """The spans of the burn-in, in order."""
        return parse_range(self.burn_in)

    @property
    def delayed_tasks(self) -> tuple[str, ...]:
        """Tasks whose hard label arrives with the matured row."""
        return tuple(name for name, task in self.tasks.items() if task.delayed)

    def bootstrap_spans(self, surface: str) -> range:
        """The spans with which a surface begins, exempt from `without_labels`; none by default."""
        chosen = self.surfaces[surface].bootstrap
        first = self.burn_in_spans[-1] + 1
        return range(first, first) if chosen is None else parse_range(chosen)

    def first_span(self, branch: str) -> int:
        """The span with which the teacher's branch or a surface's begins."""
        if branch in self.surfaces:
            return self.bootstrap_spans(branch).start
        return self.burn_in_spans[-1] + 1

    def label_source(self, surface: str) -> tuple[str, LabelSource]:
        """The fleet whose pins a surface's student goes by, and how the first of it chooses a set."""
        source = self.surfaces[surface].labels
        teacher = source.teacher or self.teacher.name
        fleet = self.fleet if teacher == self.teacher.name else f"{self.fleet}-{teacher}"
        return fleet, dataclasses.replace(source, teacher=teacher)

    def teacher_job(self) -> TrainingJob:
        """What the teacher's Trainer is told."""
        return self._job("teacher", None, self.teacher, {})

    def student_job(self, surface: str) -> TrainingJob:
        """What the Trainer of a surface's student is told."""
        student = self._student(surface)
        return self._job("student", surface, student, student.distillation)

    def control_job(self, surface: str) -> TrainingJob:
        """What the Trainer of a surface's control is told: the student without soft labels."""
        return self._job("control", surface, self._student(surface), {})

    def _student(self, surface: str) -> Student:
        return self.surfaces[surface].student or self.student

    def _job(
        self,
        role: Literal["teacher", "student", "control"],
        surface: str | None,
        model: Teacher | Student,
        distillation: dict[str, Distillation],
    ) -> TrainingJob:
        return TrainingJob(
            role=role,
            surface=surface,
            seed=self.seed,
            features=_chosen(f"{role}.features", model.features, self.features),
            tasks=_chosen(f"{role}.tasks", model.tasks, self.tasks),
            distillation=distillation,
            architecture=model.architecture,
            optimizer=model.optimizer,
            batch_size=model.batch_size,
            passes=model.passes,
        )


def _chosen(key: str, names: tuple[str, ...], known: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{key} names {unknown[0]!r}, which is not declared{_suggestion(unknown[0], known)}")
    return {name: known[name] for name in names}


def _suggestion(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {sorted(known)}."
