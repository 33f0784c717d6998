"""A surface's branch of a span: joins soft labels, evaluates the last models, trains and pushes new ones."""

from __future__ import annotations

import dataclasses

from tfx import types
from tfx.components import Pusher
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import pusher_pb2

from components.artifacts import IntOrPlaceholder
from components.progressive_evaluator import ProgressiveEvaluator
from components.push_gate import PushGate
from components.soft_label_transform import SoftLabelTransform
from components.span_publisher import SpanPublisher
from components.span_state import SpanState
from components.surface_report import SurfaceReport
from components.training_deferral import TrainingDeferral
from models.settings import to_json
from pipeline.config import Deployment
from pipeline.dag.tfma import evaluator
from pipeline.dag.training import TrainedModel, train_and_check
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class LabelledExamples:
    """The input of a surface's branch: a span's examples and the component that labels them.

    Attributes:
        examples: Channel of the span's Examples, of this surface and possibly of others.
        labeller: Component that publishes the span's label set; None if another pipeline publishes it.
    """

    examples: types.BaseChannel
    labeller: BaseComponent | None


def student_branch(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    version: IntOrPlaceholder,
    surface: str,
    labelled: LabelledExamples,
) -> list[BaseComponent]:
    """Wires one span of a surface's student and control, in topological order."""
    state = SpanState(
        records_folder=paths.records,
        branch=surface,
        span=span,
        slots=("transform_graph", "student", "control", "predictions"),
    ).with_id(f"SpanState_{surface}")
    join = _wire_join(deployment, paths, span, surface, labelled)
    examples = join.outputs["joined"]
    progressive = _wire_evaluator(deployment, span, surface, examples, state)
    predictions, figures = progressive.outputs["predictions"], progressive.outputs["figures"]
    graph = state.outputs["transform_graph"]
    student = train_and_check(
        deployment, paths, deployment.student_job(surface), examples, graph, state.outputs["student"]
    )
    control_components, control_slots = _wire_control(deployment, paths, span, surface, examples, state)
    push_components, push_slots = _wire_push(deployment, paths, span, surface, student, predictions)
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=surface,
        span=span,
        slots={
            **push_slots,
            "examples": examples,
            "student": student.next_base,
            "student_blessing": student.blessing,
            "predictions": predictions,
            "figures": figures,
            **control_slots,
        },
        version=version,
    ).with_id(f"SpanPublisher_{surface}")
    reports = []
    if deployment.evaluation.tfma:
        reports.append(evaluator(deployment, surface, examples, student.model))
    if paths.on_cluster:
        reports.append(_wire_report(deployment, span, surface, figures, examples, student))
    for report in reports:
        publisher.add_upstream_node(report)
    models = [*student.components, *control_components]
    return [state, join, progressive, *models, *push_components, *reports, publisher]


def _wire_join(
    deployment: Deployment, paths: RunPaths, span: IntOrPlaceholder, surface: str, labelled: LabelledExamples
) -> BaseComponent:
    settings = deployment.join_settings(surface)
    if settings.columns is not None:
        history = deployment.history_source(paths.events, paths.history)
        settings = dataclasses.replace(settings, history=history)
    join = SoftLabelTransform(
        examples=labelled.examples,
        store=paths.label_store(deployment.label_store),
        span=span,
        surface=surface,
        settings=settings,
    ).with_id(f"SoftLabelTransform_{surface}")
    if labelled.labeller is not None:
        join.add_upstream_node(labelled.labeller)
    return join


def _wire_evaluator(
    deployment: Deployment,
    span: IntOrPlaceholder,
    surface: str,
    examples: types.BaseChannel,
    state: SpanState,
) -> BaseComponent:
    settings = deployment.surfaces[surface]
    # The push gate uses only spans for which the control is up to date: one in `control_every`.
    keep_spans = settings.push.spans * max(1, settings.control_every) if settings.push else 0
    return ProgressiveEvaluator(
        examples=examples,
        student=state.outputs["student"],
        control=state.outputs["control"],
        earlier_predictions=state.outputs["predictions"],
        span=span,
        tasks=to_json(deployment.tasks),
        resamples=deployment.evaluation.resamples,
        min_positives=deployment.evaluation.min_positives,
        keep_spans=keep_spans,
        seed=deployment.seed,
    ).with_id(f"ProgressiveEvaluator_{surface}")


def _wire_control(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    surface: str,
    examples: types.BaseChannel,
    state: SpanState,
) -> tuple[list[BaseComponent], dict[str, types.BaseChannel]]:
    """Wires the control's training, or its deferral to a later span; returns components and slots."""
    control_every = deployment.surfaces[surface].control_every
    predecessor = state.outputs["control"]
    if not control_every:
        return [], {}
    # On Kubeflow `span` has no value yet; there `pipeline.kubeflow.target` refuses `control_every` > 1.
    if control_every > 1 and span % control_every:
        deferral = TrainingDeferral(model=predecessor, examples=examples).with_id(
            f"TrainingDeferral_control_{surface}"
        )
        return [deferral], {"control": deferral.outputs["next_base"]}
    control = train_and_check(
        deployment,
        paths,
        deployment.control_job(surface),
        examples,
        state.outputs["transform_graph"],
        predecessor,
    )
    return control.components, {"control": control.next_base, "control_blessing": control.blessing}


def _wire_push(
    deployment: Deployment,
    paths: RunPaths,
    span: IntOrPlaceholder,
    surface: str,
    student: TrainedModel,
    predictions: types.BaseChannel,
) -> tuple[list[BaseComponent], dict[str, types.BaseChannel]]:
    """Wires the surface's push gate, if it has one, and the Pusher; returns components and slots."""
    rule = deployment.surfaces[surface].push
    gates, slots, blessing = [], {}, student.blessing
    if rule is not None:
        gate = PushGate(
            blessing=student.blessing,
            predictions=predictions,
            surface=surface,
            span=span,
            rule=to_json(rule),
            tasks=to_json(deployment.tasks),
            resamples=deployment.evaluation.resamples,
            min_positives=deployment.evaluation.min_positives,
            seed=deployment.seed,
        ).with_id(f"PushGate_{surface}")
        blessing = gate.outputs["decision"]
        gates, slots = [gate], {"gate": blessing}
    pusher = Pusher(
        model=student.model,
        model_blessing=blessing,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=paths.serving(surface))
        ),
    ).with_id(f"Pusher_{surface}")
    return [*gates, pusher], {**slots, "pushed": pusher.outputs["pushed_model"]}


def _wire_report(
    deployment: Deployment,
    span: IntOrPlaceholder,
    surface: str,
    figures: types.BaseChannel,
    examples: types.BaseChannel,
    student: TrainedModel,
) -> BaseComponent:
    return SurfaceReport(
        evaluated=figures,
        joined=examples,
        blessing=student.blessing,
        surface=surface,
        span=span,
        tasks=to_json(deployment.tasks),
    ).with_id(f"SurfaceReport_{surface}")
