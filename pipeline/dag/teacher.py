"""The teacher's branch of a span: labels the span for all students and trains the teacher on it."""

from __future__ import annotations

import dataclasses

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent

from components.artifacts import IntOrPlaceholder
from components.label_report import LabelReport
from components.soft_label_bulk_inferrer import SoftLabelBulkInferrer
from components.span_publisher import SpanPublisher
from components.span_records import RELABELLED, TEACHER
from components.span_state import SpanState
from pipeline.config import Deployment
from pipeline.dag.ingest import IngestedSpans, ingest, read_events
from pipeline.dag.training import train_and_check
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class TeacherBranch:
    """The teacher's branch, with the outputs that the surfaces' branches of the same pipeline use.

    Attributes:
        components: In topological order.
        ingested: The span's validated examples.
        labeller: Component that publishes the span's label set.
    """

    components: list[BaseComponent]
    ingested: IngestedSpans
    labeller: BaseComponent


def teacher_branch(
    deployment: Deployment, paths: RunPaths, span: IntOrPlaceholder, version: IntOrPlaceholder = 0
) -> TeacherBranch:
    """Wires one span of the teacher.

    With `label_with: previous` the teacher of the previous span labels the examples. It has not trained on
    them, and students do not wait for the teacher's training.
    """
    state = SpanState(
        records_folder=paths.records,
        branch=TEACHER,
        span=span,
        slots=("statistics", "fitted_statistics", "transform_graph", "teacher", "labels"),
    )
    ingested = ingest(deployment, paths, span, span, state, version)
    trained = train_and_check(
        deployment,
        paths,
        deployment.teacher_job(),
        ingested.examples,
        state.outputs["transform_graph"],
        state.outputs["teacher"],
    )
    previous = deployment.label_with == "previous"
    model = state.outputs["teacher"] if previous else trained.next_base
    labeller = _wire_labeller(deployment, paths, span, version, state, ingested.examples, model)
    trainer = trained.components[0]
    for component in (labeller, trainer):
        component.add_upstream_node(ingested.validator)
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=TEACHER,
        span=span,
        slots={
            "teacher": trained.next_base,
            "teacher_blessing": trained.blessing,
            "statistics": ingested.statistics,
            "anomalies": ingested.validator.outputs["anomalies"],
            "examples": ingested.examples,
            "labels": labeller.outputs["labels"],
        },
        version=version,
    )
    reports: list[BaseComponent] = []
    if paths.on_cluster:
        report = LabelReport(labels=labeller.outputs["labels"], blessing=trained.blessing, span=span)
        reports.append(report.with_id("LabelReport_teacher"))
        publisher.add_upstream_node(report)
    labelling = [labeller, *trained.components] if previous else [*trained.components, labeller]
    return TeacherBranch(
        components=[state, *ingested.components, *labelling, *reports, publisher],
        ingested=ingested,
        labeller=labeller,
    )


def relabel_components(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    version: IntOrPlaceholder,
    supersede: bool = False,
) -> list[BaseComponent]:
    """Wires the labelling of a past span by the newest teacher of an earlier span; no model trains on it.

    With `supersede` the pipeline publishes a new revision of an existing label set.
    """
    state = SpanState(records_folder=paths.records, branch=TEACHER, span=span, slots=("teacher", "labels"))
    reader = read_events(deployment, paths, span, span, version)
    labeller = _wire_labeller(
        deployment,
        paths,
        span,
        version,
        state,
        reader.outputs["examples"],
        state.outputs["teacher"],
        supersede,
    )
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=RELABELLED,
        span=span,
        slots={"labels": labeller.outputs["labels"]},
        version=version,
    )
    return [state, reader, labeller, publisher]


def _wire_labeller(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    version: IntOrPlaceholder,
    state: SpanState,
    examples: types.BaseChannel,
    model: types.BaseChannel,
    supersede: bool = False,
) -> SoftLabelBulkInferrer:
    return SoftLabelBulkInferrer(
        examples=examples,
        model=model,
        previous_labels=state.outputs["labels"],
        store=paths.label_store(deployment.label_store),
        teacher=deployment.teacher.name,
        span=span,
        span_version=version,
        tasks={name: deployment.tasks[name] for name in deployment.teacher.tasks},
        label_with=deployment.label_with,
        checks=deployment.label_checks,
        supersede=supersede,
    )
