"""The pipeline of a renamed surface: its models and kept predictions, under the new name.

It takes the place of the surface's burn-in. Its record has the last span under the earlier name, so that the
surface goes on with the next span.
"""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent

from components.span_publisher import SpanPublisher
from components.span_records import surface_burn_in
from components.span_state import SpanState
from components.surface_rename import SurfaceRename
from pipeline.config import Deployment
from pipeline.paths import RunPaths


def surface_rename_components(
    deployment: Deployment, paths: RunPaths, surface: str, was: str, last_span: int
) -> list[BaseComponent]:
    """Wires the rename of a surface, in topological order.

    Args:
        deployment: the configuration, with the surface under its new name.
        paths: the paths of the run.
        surface: the new name.
        was: the earlier name.
        last_span: the last span under the earlier name.
    """
    roles = ["student", *(["control"] if deployment.surfaces[surface].control_every else [])]
    state = SpanState(
        records_folder=paths.records, branch=was, span=last_span + 1, slots=(*roles, "predictions")
    )
    renamed = {
        role: SurfaceRename(
            model=state.outputs[role],
            surface=surface,
            serving_before=paths.serving(was) if role == "student" else "",
            serving=paths.serving(surface),
        ).with_id(f"SurfaceRename_{role}")
        for role in roles
    }
    slots = {role: rename.outputs["renamed"] for role, rename in renamed.items()}
    publisher = SpanPublisher(
        records_folder=paths.records,
        copies_folder=paths.artifact_copies,
        branch=surface_burn_in(surface),
        span=last_span,
        slots={**slots, "predictions": state.outputs["predictions"]},
    )
    return [state, *renamed.values(), publisher]
