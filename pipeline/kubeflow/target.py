"""The pipelines of a deployment as TFX compiles them for Kubeflow, one span a run."""

from __future__ import annotations

import dataclasses
import json
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
from pipeline.dag.burn_in import bootstrap_components
from pipeline.dag.pipelines import all_branches, close, span_components
from pipeline.kubeflow import entrypoint
from pipeline.kubeflow.due_span import NEXT, DueSpan
from pipeline.kubeflow.spec import finish
from pipeline.paths import RunPaths

BOOTSTRAP, FLEET = "bootstrap", "fleet"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def compile_all(deployment: Deployment) -> dict[str, list[dict[str, Any]]]:
    """Compiles every pipeline of a deployment.

    Args:
        deployment: The configuration.

    Returns:
        By name (`bootstrap`, `teacher`, `student-<surface>` and `fleet`, which is all branches in one) the
        documents of its YAML: KFP's pipeline spec 2.1, and what Kubernetes is asked for where there is a
        volume or a secret.

    Raises:
        BadInput: if the configuration asks for what cannot be compiled once for all spans.
    """
    on_cluster = for_cluster(deployment)
    branches = {
        BOOTSTRAP: (),
        TEACHER: (TEACHER,),
        **{f"student-{surface}": (surface,) for surface in deployment.surfaces},
        FLEET: all_branches(deployment),
    }
    return {name: compile_one(on_cluster, name, of) for name, of in branches.items()}


def compile_one(deployment: Deployment, name: str, branches: tuple[str, ...]) -> list[dict[str, Any]]:
    """The documents of one pipeline: the bootstrap's without branches, else of one span of these."""
    runner = KubeflowV2DagRunner(runner_config(deployment))
    compiled: Mapping[str, Any] = runner.run(build(deployment, name, branches), write_out=False)
    return finish(compiled["pipelineSpec"], deployment, {SPAN: NEXT} if branches else {})


def runner_config(deployment: Deployment) -> KubeflowV2DagRunnerConfig:
    """What TFX's compiler is told: the image, and our entrypoint in it."""
    return KubeflowV2DagRunnerConfig(
        default_image=deployment.cluster.image,
        default_commands=["python", "-m", entrypoint.__name__],
        use_pipeline_spec_2_1=True,
    )


def build(deployment: Deployment, name: str, branches: tuple[str, ...]) -> pipeline.Pipeline:
    """The TFX pipeline behind `compile_one`."""
    paths = cluster_paths(deployment)
    title = f"{deployment.name}-{name}".replace("_", "-")
    with new_registry():
        if not branches:
            components = bootstrap_components(deployment, paths)
            return close(title, deployment, paths, components)
        due = DueSpan(
            deployment=to_json(deployment),
            root=str(paths.root),
            events=str(paths.events),
            branches=json.dumps(branches),
            wanted=data_types.RuntimeParameter(name=SPAN, ptype=int),
        )
        span, version = (due.outputs[key].future()[0].value for key in ("span", "version"))
        components = [due, *span_components(deployment, paths, span, version, branches)]
        return close(title, deployment, paths, components)


def cluster_paths(deployment: Deployment) -> RunPaths:
    """The folders of a run on the cluster; every step sees them."""
    shared = Path(deployment.cluster.shared)
    return RunPaths(root=shared / "root", events=shared / "events", on_cluster=True)


def for_cluster(deployment: Deployment) -> Deployment:
    """The deployment as the image sees it.

    Raises:
        BadInput: see `compile_all`.
    """
    _check_names(deployment)
    for surface, chosen in deployment.surfaces.items():
        if chosen.control_every > 1:
            raise BadInput(
                "a control of every so many spans", where=f"surfaces.{surface}.control_every",
                expected="0 or 1 on Kubeflow", got=str(chosen.control_every),
                fix="One pipeline serves all spans there: train the control in each, or leave it out.",
            )  # fmt: skip
    if deployment.validation.refused_span == "skip":
        raise BadInput(
            "skipping of faulty spans", where="validation.refused_span", expected="stop on Kubeflow",
            got="skip", fix="A run fails there at its SpanValidator: re-state the span and run it again.",
        )  # fmt: skip
    if deployment.spans_table is not None:
        raise BadInput(
            "watching a table of spans", where="spans_table", expected="none on Kubeflow",
            got=deployment.spans_table,
            fix="Have a job of its own write the log, with `rankdistill events bigquery`.",
        )  # fmt: skip
    home = Path(deployment.cluster.home)
    return dataclasses.replace(deployment, schema=str(home / "schema" / Path(deployment.schema).name))


def _check_names(deployment: Deployment) -> None:
    """Kubeflow names pipelines and tasks with lower case letters, digits and `-`; `_` becomes that."""
    names = {"name": deployment.name, **{f"surfaces.{surface}": surface for surface in deployment.surfaces}}
    for where, name in names.items():
        if not _NAME.fullmatch(name):
            raise BadInput(
                "no name for a pipeline", where=where, expected="lower case letters, digits, - and _",
                got=name, fix="Rename it; on Kubeflow a pipeline is called by it.",
            )  # fmt: skip
    known: set[str] = set()
    for surface in deployment.surfaces:
        if surface.replace("_", "-") in known:
            raise BadInput(
                "two surfaces of one name", where=f"surfaces.{surface}", expected="another name",
                got=surface.replace("_", "-"), fix="Rename one: on Kubeflow _ becomes -.",
            )  # fmt: skip
        known.add(surface.replace("_", "-"))
