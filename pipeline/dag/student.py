"""A surface's branch of a span: join the labels, judge the last models, train the next."""

from __future__ import annotations

import dataclasses

from tfx import types
from tfx.components import Pusher
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import pusher_pb2

from components.artifacts import Found
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
from pipeline.dag.training import Trained, train_and_judge
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What a surface's branch joins.

    Attributes:
        examples: Channel of the span's Examples, this surface's among them.
        labeller: When it is done, the span's label set is published; None where another pipeline labels.
    """

    examples: types.BaseChannel
    labeller: BaseComponent | None


def student_branch(
    deployment: Deployment, paths: RunPaths, span: Found, version: Found, surface: str, labelled: Labelled
) -> list[BaseComponent]:
    """Wires one span of a surface's student and of its control."""
    state = SpanState(
        records=paths.records,
        branch=surface,
        span=span,
        slots=("transform_graph", "student", "control", "predictions"),
    ).with_id(f"SpanState_{surface}")
    join = _join(deployment, paths, span, surface, labelled)
    examples = join.outputs["joined"]
    chosen = deployment.surfaces[surface]
    judged = ProgressiveEvaluator(
        examples=examples,
        student=state.outputs["student"],
        control=state.outputs["control"],
        earlier_predictions=state.outputs["predictions"],
        span=span,
        tasks=to_json(deployment.tasks),
        resamples=deployment.evaluation.resamples,
        min_positives=deployment.evaluation.min_positives,
        # Of every so many spans one alone has a control that has learnt what the student has.
        keep_spans=chosen.push.spans * max(1, chosen.control_every) if chosen.push else 0,
        seed=deployment.seed,
    ).with_id(f"ProgressiveEvaluator_{surface}")
    predictions = judged.outputs["predictions"]
    graph = state.outputs["transform_graph"]
    student = train_and_judge(
        deployment, deployment.student_job(surface), examples, graph, state.outputs["student"]
    )
    control = _control(deployment, span, surface, examples, state)
    pushing, slots = _push(deployment, paths, span, surface, student, predictions)
    slots |= {
        "examples": examples,
        "student": student.good_model,
        "student_blessing": student.blessing,
        "predictions": predictions,
        "figures": judged.outputs["figures"],
        **control.slots,
    }
    publisher = SpanPublisher(
        records=paths.records,
        published=paths.published,
        branch=surface,
        span=span,
        slots=slots,
        version=version,
    ).with_id(f"SpanPublisher_{surface}")
    told = evaluator(deployment, surface, examples, student.model) if deployment.evaluation.tfma else []
    if paths.on_cluster:
        told.append(_report(deployment, span, surface, judged.outputs["figures"], examples, student))
    for component in told:
        publisher.add_upstream_node(component)
    models = [*student.components, *control.components]
    return [state, join, judged, *models, *pushing, *told, publisher]


@dataclasses.dataclass(frozen=True)
class _Control:
    components: list[BaseComponent]
    slots: dict[str, types.BaseChannel]


def _control(
    deployment: Deployment, span: Found, surface: str, examples: types.BaseChannel, state: SpanState
) -> _Control:
    """The control's training, its deferral to a later span, or nothing where there is no control."""
    every = deployment.surfaces[surface].control_every
    predecessor = state.outputs["control"]
    if not every:
        return _Control([], {})
    # Whether to defer says the span itself, where it is known: see `pipeline.kubeflow.target`.
    if every > 1 and span % every:
        deferral = TrainingDeferral(model=predecessor, examples=examples).with_id(
            f"TrainingDeferral_control_{surface}"
        )
        return _Control([deferral], {"control": deferral.outputs["good_model"]})
    trained = train_and_judge(
        deployment, deployment.control_job(surface), examples, state.outputs["transform_graph"], predecessor
    )
    slots = {"control": trained.good_model, "control_blessing": trained.blessing}
    return _Control(trained.components, slots)


def _report(
    deployment: Deployment,
    span: Found,
    surface: str,
    figures: types.BaseChannel,
    examples: types.BaseChannel,
    student: Trained,
) -> BaseComponent:
    report = SurfaceReport(
        evaluated=figures,
        joined=examples,
        blessing=student.blessing,
        surface=surface,
        span=span,
        tasks=to_json(deployment.tasks),
    )
    return report.with_id(f"SurfaceReport_{surface}")


def _push(
    deployment: Deployment,
    paths: RunPaths,
    span: Found,
    surface: str,
    student: Trained,
    predictions: types.BaseChannel,
) -> tuple[list[BaseComponent], dict[str, types.BaseChannel]]:
    """The way of a blessed student to serving, through the surface's gate if it has one."""
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


def _join(
    deployment: Deployment, paths: RunPaths, span: Found, surface: str, labelled: Labelled
) -> SoftLabelTransform:
    chosen = deployment.surfaces[surface]
    fleet, source = deployment.label_source(surface)
    join: SoftLabelTransform = SoftLabelTransform(
        examples=labelled.examples,
        store=paths.label_store(deployment.label_store),
        fleet=fleet,
        source=source,
        span=span,
        surface=surface,
        tasks={name: deployment.tasks[name] for name in deployment.teacher.tasks},
        events_table=deployment.events_table or "",
        coverage_floor=chosen.coverage_floor,
        without_labels=chosen.without_labels,
        bootstrap=chosen.bootstrap or "",
    ).with_id(f"SoftLabelTransform_{surface}")
    if labelled.labeller is not None:
        join.add_upstream_node(labelled.labeller)
    return join
