"""Deployment configuration: frozen settings, checked against each other; `config_file` reads the YAML.

Settings of a part are declared beside its code and composed here. Importing this module imports neither
TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Literal

from components.evaluation.label_checks import LabelChecks
from components.evaluation.severities import Severities
from components.event_schema import EventColumns
from components.history.settings import History, HistorySource
from components.label_store.resolving import LabelSource
from components.label_store.schemes import store_uri_fault
from components.span_records import BURN_IN, RELABELLED, TEACHER, surface_burn_in
from components.transforms.join_settings import JoinSettings
from eventlog.errors import BadInput
from eventlog.names import name_fault
from eventlog.spans import parse_range
from models.distillation import Distillation
from models.features import Feature
from models.job import TrainingJob
from models.settings import Count, Natural, NonNegative, Seed, settings, to_json
from models.tasks import Task
from pipeline.beam_runners import runner_fault
from pipeline.cluster import Cluster, Step
from pipeline.roles import Ranking, Student, Surface, Teacher, select_declared

_MAX_PIPELINE_NAME_LENGTH = 63
"""TFX's limit."""
# A teacher is much larger than a student and trains on the rows of all surfaces.
_DEFAULT_STEPS = {"Trainer": Step(cpus=4, memory_gib=8), "Trainer_teacher": Step(cpus=8, memory_gib=32)}


@settings
class Validation(Severities):
    """Severity of anomalies in a span's statistics, and handling of faulty and late spans.

    Attributes:
        refused_span: Action on a span that is faulty or that an anomaly stops. `stop`: the loop ends; revise
            the span, then run the loop again. `skip`: no model labels the span or trains on it. An empty span
            is always skipped.
        late_after_spans: A missing span is skipped when this number of later spans are complete. No model
            trains on it, even if it arrives later. None: a missing span is never skipped.
    """

    refused_span: Literal["stop", "skip"] = "stop"
    late_after_spans: Count | None = None

    @property
    def severities(self) -> Severities:
        """The settings that SpanValidator reads."""
        return Severities(schema=self.schema, drift=self.drift, skew=self.skew)


@settings
class Evaluation:
    """Settings of the candidate check, the metrics and their intervals.

    Attributes:
        margin: A candidate's loss on the held-out clusters may exceed its predecessor's by this fraction.
        resamples: Number of bootstrap draws per interval; 0 for no intervals.
        min_positives: A binary task with fewer positive labels gets no interval. The push gate compares
            student and control only if the rarer class has at least this number of rows.
        tfma: Whether to add TFX's Evaluator for each student; slow.
        tfma_slices: Features by whose values TFMA slices its metrics.
    """

    margin: NonNegative = 0.05
    resamples: Natural = 200
    min_positives: Natural = 50
    tfma: bool = False
    tfma_slices: tuple[str, ...] = ()


@settings
class Deployment:
    """All settings of one deployment.

    Attributes:
        name: Prefix of the TFX pipelines' names.
        seed: Seeds every initializer, shuffle and bootstrap.
        schema: TFMD schema of the event log: a file, relative to the configuration file, or `shipped:NAME`.
        burn_in: Spans `A:B`, both included, of the teacher's first training and of the transform graph's fit.
        tasks: The tasks by name. The event log has a task's labels in the column `label_<name>`.
        features: The features by name, which is also the name of a column in the event log or of `history`.
        teacher: The large model.
        student: The small model of every surface.
        surfaces: The surfaces by name, which is also the value in the column `surface`.
        label_with: `previous`: the teacher labels a span before it trains on the span. `current`: after it
            has trained on the span.
        label_store: URI of the store, such as `delta:labels`; a relative path is a path under the run's root.
        fleet: Name of the fleet: the students that read the same pinned label sets.
        join: `beam`: Beam joins labels with examples. `bigquery`: BigQuery joins labels with `events_table`.
        events_table: BigQuery table of the event log's impressions, `PROJECT.DATASET.TABLE`; required by
            `join: bigquery` and by `spans_table`.
        spans_table: BigQuery table whose rows `span, version` name the complete spans. The teacher's loop
            watches this table and copies its spans from `events_table` to the event log. None: another job
            writes the log.
        validation: Severity of anomalies, and what the loop does with refused and late spans.
        label_checks: Checks of a teacher's labels before their publication.
        evaluation: Settings of the candidate check, the metrics and their intervals.
        history: Features computed from earlier spans of the event log; None: the log has all features.
        ranking: How surfaces rank; only `rankdistill online` needs it.
        rows_per_shard: Maximum number of rows in a shard, the unit of Beam work.
        beam_pipeline_args: Beam options of all Beam components. DirectRunner is not the default, because it
            first tries to download Prism; then it falls back to FnApiRunner.
        steps: Settings of single steps, by prefix of the component id; the longest prefix applies. An entry
            replaces the default of the same name.
        cluster: The Kubernetes cluster of the compiled pipelines; unused on one machine.
    """

    name: str
    seed: Seed
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
    rows_per_shard: Count = 10_000
    validation: Validation = dataclasses.field(default_factory=Validation)
    label_checks: LabelChecks = dataclasses.field(default_factory=LabelChecks)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    beam_pipeline_args: tuple[str, ...] = ("--runner=FnApiRunner",)
    steps: dict[str, Step] = dataclasses.field(default_factory=dict)
    history: History | None = None
    ranking: Ranking | None = None
    cluster: Cluster = dataclasses.field(default_factory=Cluster)

    def __post_init__(self) -> None:
        """Checks the settings against each other.

        Raises:
            ValueError: at the first conflict; the message names the key.
        """
        ranges = {"burn_in": self.burn_in} | {
            f"surfaces.{name}.first_spans": surface.first_spans
            for name, surface in self.surfaces.items()
            if surface.first_spans is not None
        }
        for key, text in ranges.items():
            try:
                parse_range(text)
            except BadInput as error:
                raise ValueError(f"{key}: {error}") from error
        earlier = [surface.was for surface in self.surfaces.values() if surface.was is not None]
        twice = next((name for name in earlier if earlier.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"surfaces: `was` must name {twice!r} once, got it twice. Remove one.")
        self._check_names()
        self._check_runners()
        self._check_tables()
        select_declared("evaluation.tfma_slices", self.evaluation.tfma_slices, self.features)
        if self.history is not None:
            self.history.check_tasks(self.tasks)
        if self.ranking is not None:
            self.ranking.check(self.tasks)
        if not self.surfaces:
            raise ValueError("surfaces must name at least one surface, got none. Add one.")
        self.teacher_job()
        for name, surface in self.surfaces.items():
            self._check_surface(name, surface)
            for task in self.student_job(name).distillation:
                if task not in self.teacher.tasks:
                    raise ValueError(
                        f"distillation of {task!r} on {name} needs the teacher's label, but the teacher's "
                        f"tasks are {sorted(self.teacher.tasks)}. Add it to teacher.tasks."
                    )

    def _check_names(self) -> None:
        for key, name in (("name", self.name), ("teacher.name", self.teacher.name), ("fleet", self.fleet)):
            if fault := name_fault(name):
                raise ValueError(f"{key}: {fault}")
        for name in self.surfaces:
            if fault := name_fault(name, (TEACHER, BURN_IN, RELABELLED)):
                raise ValueError(f"surfaces: {fault}")
            pipeline_name = f"{self.name}-{surface_burn_in(name)}"
            if len(pipeline_name) > _MAX_PIPELINE_NAME_LENGTH:
                raise ValueError(
                    f"name and surfaces.{name}: expected at most {_MAX_PIPELINE_NAME_LENGTH} characters in "
                    f"the name of a pipeline, got {pipeline_name!r}. Shorten one of the two."
                )
        if fault := store_uri_fault(self.label_store):
            raise ValueError(f"label_store: {fault}")

    def _check_runners(self) -> None:
        options = {"beam_pipeline_args": self.beam_pipeline_args}
        options |= {f"steps.{name}.beam": step.beam for name, step in self.steps.items()}
        for key, arguments in options.items():
            if fault := runner_fault(arguments):
                raise ValueError(f"{key}: {fault}")

    def _check_tables(self) -> None:
        if self.join == "bigquery" and self.events_table is None:
            raise ValueError("join: bigquery needs events_table, got none. Add it, or set join: beam.")
        if self.spans_table is not None and self.events_table is None:
            raise ValueError("spans_table needs events_table, got none. Add it.")
        if self.events_table is None:
            return
        if self.join == "beam" and self.spans_table is None:
            raise ValueError(
                f"events_table is used only by join: bigquery and spans_table, got {self.events_table!r} "
                "without either. Add one of them, or remove events_table."
            )
        if not self.label_store.startswith("bigquery:"):
            raise ValueError(f"events_table needs a label_store in BigQuery, got {self.label_store!r}.")

    def _check_surface(self, name: str, surface: Surface) -> None:
        where = f"surfaces.{name}"
        if surface.first_spans is not None and parse_range(surface.first_spans)[0] <= self.burn_in_spans[-1]:
            raise ValueError(
                f"{where}.first_spans must begin after the burn-in {self.burn_in}, got "
                f"{surface.first_spans}: earlier spans have no labels."
            )
        if surface.was is not None:
            if fault := name_fault(surface.was, (TEACHER, BURN_IN, RELABELLED)):
                raise ValueError(f"{where}.was: {fault}")
            if surface.was in self.surfaces:
                raise ValueError(
                    f"{where}.was must be no surface of the configuration, got {surface.was!r}. Remove that "
                    "surface, or remove was."
                )
        rule = surface.push
        if rule is None:
            return
        if rule.task not in self.student_job(name).tasks:
            raise ValueError(f"{where}.push.task must be a task of the student, got {rule.task!r}.")
        if self.evaluation.resamples * rule.alpha < 1:
            raise ValueError(
                f"{where}.push.alpha {rule.alpha:g} needs evaluation.resamples of at least 1 / alpha, "
                f"got {self.evaluation.resamples}."
            )
        if self.tasks[rule.task].delayed:
            raise ValueError(f"{where}.push.task must not be delayed, got {rule.task!r}.")

    @property
    def event_columns(self) -> EventColumns:
        """The columns of the event log that the deployment reads, without those that the history adds."""
        delays = {name: task.delay for name, task in self.tasks.items()}
        features = tuple(self.features)
        if self.history is not None:
            names = (*features, *self.history.log_columns)
            features = tuple(name for name in names if name not in self.history.produced.names)
        return EventColumns(schema=self.schema, delays=delays, features=features)

    def history_source(self, log: Path, folder: str) -> HistorySource | None:
        """The history with its log and the folder of its state; None if the deployment has none."""
        if self.history is None:
            return None
        return HistorySource(history=self.history, log=str(log), folder=folder)

    @property
    def settings_hash(self) -> str:
        """12 hex digits of the hash of all settings except the schema's folder, `steps` and `cluster`."""
        hashed = dataclasses.replace(self, schema=Path(self.schema).name, steps={}, cluster=Cluster())
        return hashlib.sha256(to_json(hashed).encode()).hexdigest()[:12]

    @property
    def all_steps(self) -> dict[str, Step]:
        """The default settings of steps, overridden by `steps`; see `pipeline.cluster.find_step`."""
        return _DEFAULT_STEPS | self.steps

    @property
    def burn_in_spans(self) -> range:
        """The spans of the burn-in, in order."""
        return parse_range(self.burn_in)

    def exempt_spans(self, surface: str) -> range:
        """The `first_spans` of a surface, to which `without_labels` does not apply; empty by default."""
        spans = self.surfaces[surface].first_spans
        first = self.burn_in_spans[-1] + 1
        return range(first, first) if spans is None else parse_range(spans)

    def first_span(self, branch: str) -> int:
        """The first span after the burn-in that a branch runs: the teacher's or a surface's."""
        if branch in self.surfaces:
            return self.exempt_spans(branch).start
        return self.burn_in_spans[-1] + 1

    def label_source(self, surface: str) -> tuple[str, LabelSource]:
        """Returns the fleet whose pins a surface's student reads, and its rule to choose a label set."""
        source = self.surfaces[surface].labels
        teacher = source.teacher or self.teacher.name
        fleet = self.fleet if teacher == self.teacher.name else f"{self.fleet}-{teacher}"
        return fleet, dataclasses.replace(source, teacher=teacher)

    def join_settings(self, surface: str) -> JoinSettings:
        """Settings of a surface's SoftLabelTransform."""
        fleet, source = self.label_source(surface)
        surface_settings = self.surfaces[surface]
        return JoinSettings(
            fleet=fleet,
            source=source,
            tasks={name: self.tasks[name] for name in self.teacher.tasks},
            events_table=self.events_table if self.join == "bigquery" else None,
            columns=self.event_columns if self.join == "bigquery" else None,
            coverage_floor=surface_settings.coverage_floor,
            without_labels=surface_settings.without_labels,
            was=surface_settings.was,
            first_spans=surface_settings.first_spans,
        )

    def teacher_job(self) -> TrainingJob:
        """The training job of the teacher."""
        return self._job("teacher", None, self.teacher, {})

    def student_job(self, surface: str) -> TrainingJob:
        """The training job of a surface's student."""
        student = self._student(surface)
        return self._job("student", surface, student, student.distillation)

    def control_job(self, surface: str) -> TrainingJob:
        """The training job of a surface's control: the student's job without distillation."""
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
            features=select_declared(f"{role}.features", model.features, self.features),
            tasks=select_declared(f"{role}.tasks", model.tasks, self.tasks),
            distillation=distillation,
            architecture=model.architecture,
            optimizer=model.optimizer,
            batch_size=model.batch_size,
            passes=model.passes,
        )
