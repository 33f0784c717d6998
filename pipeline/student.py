"""A surface's branch of a span: join the labels, judge the last models, train the next."""

from __future__ import annotations

from tfx.components import Pusher
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import pusher_pb2

from components.progressive_evaluator import ProgressiveEvaluator
from components.soft_label_transform import SoftLabelTransform
from components.span_publisher import SpanPublisher
from components.span_state import SpanState
from models.settings import to_json
from pipeline.config import Deployment
from pipeline.place import Place
from pipeline.teacher import TeacherBranch
from pipeline.tfma import evaluator
from pipeline.training import train_and_judge


def student_branch(
    deployment: Deployment, place: Place, span: int, surface: str, teacher: TeacherBranch
) -> list[BaseComponent]:
    """Wires one span of a surface's student and of its control."""
    state = SpanState(
        records=place.records,
        branch=surface,
        span=span,
        slots=("transform_graph", "student", "control", "predictions"),
    ).with_id(f"SpanState_{surface}")
    join = _join(deployment, place, span, surface, teacher)
    examples = join.outputs["joined"]
    judged = ProgressiveEvaluator(
        examples=examples,
        student=state.outputs["student"],
        control=state.outputs["control"],
        earlier_predictions=state.outputs["predictions"],
        span=span,
        tasks=to_json(deployment.tasks),
        resamples=deployment.evaluation.resamples,
        min_positives=deployment.evaluation.min_positives,
        seed=deployment.seed,
    ).with_id(f"ProgressiveEvaluator_{surface}")
    graph = state.outputs["transform_graph"]
    student = train_and_judge(
        deployment, deployment.student_job(surface), examples, graph, state.outputs["student"]
    )
    control = train_and_judge(
        deployment, deployment.control_job(surface), examples, graph, state.outputs["control"]
    )
    pusher = Pusher(
        model=student.model,
        model_blessing=student.blessing,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=place.serving(surface))
        ),
    ).with_id(f"Pusher_{surface}")
    slots = {
        "examples": examples,
        "student": student.good_model,
        "control": control.good_model,
        "predictions": judged.outputs["predictions"],
        "figures": judged.outputs["figures"],
    }
    publisher = SpanPublisher(records=place.records, branch=surface, span=span, slots=slots).with_id(
        f"SpanPublisher_{surface}"
    )
    sliced = evaluator(deployment, surface, examples, student.model) if deployment.evaluation.tfma else []
    for component in (pusher, *sliced):
        publisher.add_upstream_node(component)
    return [state, join, judged, *student.components, *control.components, pusher, *sliced, publisher]


def _join(
    deployment: Deployment, place: Place, span: int, surface: str, teacher: TeacherBranch
) -> SoftLabelTransform:
    chosen = deployment.surfaces[surface]
    fleet, source = deployment.label_source(surface)
    join: SoftLabelTransform = SoftLabelTransform(
        examples=teacher.read.examples,
        store=place.label_store(deployment.label_store),
        fleet=fleet,
        source=source,
        span=span,
        surface=surface,
        tasks={name: deployment.tasks[name] for name in deployment.teacher.tasks},
        events_table=deployment.events_table or "",
        coverage_floor=chosen.coverage_floor,
        below_floor=chosen.below_floor,
    ).with_id(f"SoftLabelTransform_{surface}")
    join.add_upstream_node(teacher.labeller)
    return join
