"""The burn-in pipeline of a surface: trains its first student and control on hard labels alone.

It reads the spans of the teacher's burn-in, which have no soft labels. As in production, the student has
trained before its first soft labels arrive.
"""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent

from components.span_publisher import SpanPublisher
from components.span_records import surface_burn_in
from components.span_state import SpanState
from pipeline.config import Deployment
from pipeline.dag.ingest import read_events
from pipeline.dag.training import train_and_check
from pipeline.paths import RunPaths


def surface_burn_in_components(deployment: Deployment, paths: RunPaths, surface: str) -> list[BaseComponent]:
    """Wires the burn-in of a surface, in topological order. The teacher's burn-in must be recorded."""
    spans = deployment.burn_in_spans
    state = SpanState(
        records_folder=paths.records,
        branch=surface_burn_in(surface),
        span=spans[-1] + 1,
        slots=("transform_graph", "student", "control"),
    )
    jobs = {"student": deployment.student_job(surface)}
    labelled_tasks = tuple(jobs["student"].tasks)
    reader = read_events(
        deployment, paths, spans[0], spans[-1], surface=surface, labelled_tasks=labelled_tasks
    )
    examples, graph = reader.outputs["examples"], state.outputs["transform_graph"]
    if deployment.surfaces[surface].control_every:
        jobs["control"] = deployment.control_job(surface)
    models = {
        role: train_and_check(deployment, paths, job, examples, graph, state.outputs[role])
        for role, job in jobs.items()
    }
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=surface_burn_in(surface),
        span=spans[-1],
        slots={role: model.next_base for role, model in models.items()},
    )
    components = [component for model in models.values() for component in model.components]
    return [state, reader, *components, publisher]
