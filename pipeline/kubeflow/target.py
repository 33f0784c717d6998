"""Compiles a deployment's pipelines for Kubeflow. A run of a span pipeline processes one span."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.dsl.context_managers.dsl_context_registry import new_registry
from tfx.orchestration import data_types, pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from components.span_records import TEACHER
from eventlog.errors import BadInput
from models.settings import to_json
from pipeline.cluster import SPAN
from pipeline.config import Deployment
from pipeline.dag.burn_in import burn_in_components
from pipeline.dag.pipelines import all_branches, make_pipeline, span_components
from pipeline.dag.surface_burn_in import surface_burn_in_components
from pipeline.kubeflow import entrypoint
from pipeline.kubeflow.due_span import NEXT_SPAN, DueSpan
from pipeline.kubeflow.spec import complete_spec
from pipeline.paths import RunPaths

_BURN_IN, FLEET = "burn-in", "fleet"
_PERMITTED_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def compile_all(deployment: Deployment) -> dict[str, list[dict[str, Any]]]:
    """Compiles every pipeline of a deployment.

    Args:
        deployment: The configuration.

    Returns:
        Pipeline -> documents of its YAML file. The pipelines are `burn-in`, `teacher`, `student-<surface>`,
        `burn-in-<surface>` (if the surface has a burn-in), and `fleet` with all branches. The first document
        is KFP's pipeline spec 2.1; the second has the volume and the secrets, if there are any.

    Raises:
        BadInput: if a setting is not possible on Kubeflow, or Kubeflow does not accept a name.
    """
    on_cluster = adapt_to_cluster(deployment)
    branches_by_pipeline = {
        _BURN_IN: (),
        **{f"{_BURN_IN}-{name}": () for name, surface in deployment.surfaces.items() if surface.burn_in},
        TEACHER: (TEACHER,),
        **{f"student-{surface}": (surface,) for surface in deployment.surfaces},
        FLEET: all_branches(deployment),
    }
    return {name: compile_one(on_cluster, name, branches) for name, branches in branches_by_pipeline.items()}


def compile_one(deployment: Deployment, name: str, branches: tuple[str, ...]) -> list[dict[str, Any]]:
    """Compiles one pipeline: a burn-in if `branches` is empty, else one span of `branches`.

    Args:
        deployment: Output of `adapt_to_cluster`.
        name: The pipeline; a surface's burn-in is named `burn-in-<surface>`.
        branches: The branches.

    Returns:
        The documents of its YAML file, see `compile_all`.
    """
    runner = KubeflowV2DagRunner(runner_config(deployment))
    compiled: Mapping[str, Any] = runner.run(build_pipeline(deployment, name, branches), write_out=False)
    return complete_spec(compiled["pipelineSpec"], deployment, {SPAN: NEXT_SPAN} if branches else {})


def runner_config(deployment: Deployment) -> KubeflowV2DagRunnerConfig:
    """Returns the settings of TFX's compiler: the image and the entrypoint in it."""
    return KubeflowV2DagRunnerConfig(
        default_image=deployment.cluster.image,
        default_commands=["python", "-m", entrypoint.__name__],
        use_pipeline_spec_2_1=True,
    )


def build_pipeline(deployment: Deployment, name: str, branches: tuple[str, ...]) -> pipeline.Pipeline:
    """Builds the TFX pipeline that `compile_one` compiles; see there for the arguments."""
    paths = cluster_paths(deployment)
    title = f"{deployment.name}-{name}".replace("_", "-")
    with new_registry():
        if not branches:
            surface = name.removeprefix(_BURN_IN).removeprefix("-")
            components = (
                surface_burn_in_components(deployment, paths, surface)
                if surface
                else burn_in_components(deployment, paths)
            )
            return make_pipeline(title, deployment, paths, components)
        due = DueSpan(
            deployment=to_json(deployment),
            root=str(paths.root),
            events=str(paths.events),
            branches=to_json(branches),
            wanted=data_types.RuntimeParameter(name=SPAN, ptype=int),
        )
        span, version = (due.outputs[key].future()[0].value for key in ("span", "version"))
        components = [due, *span_components(deployment, paths, span, version, branches)]
        return make_pipeline(title, deployment, paths, components)


def cluster_paths(deployment: Deployment) -> RunPaths:
    """Returns the paths of a run on the cluster, in the shared folder."""
    shared = Path(deployment.cluster.shared)
    return RunPaths(root=shared / "root", events=shared / "events", on_cluster=True)


def adapt_to_cluster(deployment: Deployment) -> Deployment:
    """Returns the deployment with the schema's path in the container image; refuses unsupported settings.

    Raises:
        BadInput: see `compile_all`.
    """
    _check_names(deployment)
    for name, surface in deployment.surfaces.items():
        if surface.control_every > 1:
            raise BadInput(
                "a control that skips spans", where=f"surfaces.{name}.control_every",
                expected="0 or 1 on Kubeflow", got=str(surface.control_every),
                fix="Set 1 to train the control on every span, or 0 for no control.",
            )  # fmt: skip
        if surface.was is not None:
            raise BadInput(
                "a renamed surface", where=f"surfaces.{name}.was", expected="no earlier name on Kubeflow",
                got=surface.was,
                fix="Rename it by `rankdistill run` on the shared folder, then remove was.",
            )  # fmt: skip
    if deployment.validation.refused_span == "skip":
        raise BadInput(
            "skipping faulty spans", where="validation.refused_span", expected="stop on Kubeflow",
            got="skip", fix="Set stop. Then a faulty span fails its run: revise the span and run it again.",
        )  # fmt: skip
    if deployment.spans_table is not None:
        raise BadInput(
            "watching a table of spans", where="spans_table", expected="none on Kubeflow",
            got=deployment.spans_table,
            fix="Write the event log in a separate job, with `rankdistill events bigquery`.",
        )  # fmt: skip
    home = Path(deployment.cluster.home)
    return dataclasses.replace(deployment, schema=str(home / "schema" / Path(deployment.schema).name))


def _check_names(deployment: Deployment) -> None:
    """Checks that Kubeflow accepts the names, and that surfaces differ after `_` is replaced by `-`."""
    names = {"name": deployment.name, **{f"surfaces.{surface}": surface for surface in deployment.surfaces}}
    for where, name in names.items():
        if not _PERMITTED_NAME.fullmatch(name):
            raise BadInput(
                "invalid pipeline name", where=where, expected="lower case letters, digits, - and _",
                got=name, fix="Rename it: on Kubeflow it is part of a pipeline's name.",
            )  # fmt: skip
    earlier: set[str] = set()
    for surface in deployment.surfaces:
        task_name = surface.replace("_", "-")
        if task_name in earlier:
            raise BadInput(
                "two surfaces of one name", where=f"surfaces.{surface}", expected="another name",
                got=task_name, fix="Rename one: on Kubeflow _ becomes -.",
            )  # fmt: skip
        earlier.add(task_name)
