"""Completes TFX's compiled pipeline spec: names, types, defaults, retries, resources, volume and secrets."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.cluster import Step, find_step
from pipeline.config import Deployment

_GB_PER_GIB = 2**30 / 1e9
"""Kubeflow's driver reads memoryLimit in decimal gigabytes, the configuration has GiB."""
_RETRY_TIME_LIMIT = f"{7 * 24 * 3600}s"
"""Time limit for all attempts of a step. With Kubeflow's default, 0, Argo never retries."""

Document = dict[str, Any]


def complete_spec(
    spec: Mapping[str, Any], deployment: Deployment, defaults: Mapping[str, int]
) -> list[Document]:
    """Makes a compiled pipeline runnable on open-source Kubeflow and on Vertex AI.

    Args:
        spec: Output of `KubeflowV2DagRunner`, the JSON form of KFP's PipelineSpec 2.1.
        deployment: The configuration; its `steps` and `cluster` are used.
        defaults: Pipeline parameter -> default value, which TFX leaves out.

    Returns:
        The spec, then a second document for Kubernetes if there is a volume or a secret.
    """
    completed = copy.deepcopy(dict(spec))
    executors = completed["deploymentSpec"]["executors"]
    for name, task in completed["root"]["dag"]["tasks"].items():
        component = completed["components"][name]
        container = executors[component["executorLabel"]].get("container")
        _correct_bound_inputs(task, component, container)
        task["cachingOptions"] = {}
        if container is not None:
            _set_step_settings(task, container, find_step(deployment.all_steps, name), deployment)
    for name, default in defaults.items():
        completed["root"]["inputDefinitions"]["parameters"][name] |= {
            "defaultValue": float(default),
            "isOptional": True,
        }
    completed["defaultPipelineRoot"] = deployment.cluster.pipeline_root
    renamed = _rename_tasks(completed)
    platform = _kubernetes_document(renamed, deployment)
    return [renamed, platform] if platform else [renamed]


def task_sources(task: Mapping[str, Any]) -> Iterator[tuple[str, Document]]:
    """Yields each input that another task produces: its kind (`artifacts` or `parameters`) and its source."""
    for kind, source in (("artifacts", "taskOutputArtifact"), ("parameters", "taskOutputParameter")):
        for bound in task.get("inputs", {}).get(kind, {}).values():
            if source in bound:
                yield kind, bound[source]


def _correct_bound_inputs(task: Document, component: Document, container: Document | None) -> None:
    """Corrects parameters from other tasks: TFX adds `_task` to the producer's name and declares a string."""
    definitions = component.get("inputDefinitions", {})
    for name, bound in task.get("inputs", {}).get("parameters", {}).items():
        if "taskOutputParameter" in bound:
            source = bound["taskOutputParameter"]
            source["producerTask"] = source["producerTask"].removesuffix("_task")
            definitions["parameters"][name]["parameterType"] = "NUMBER_INTEGER"
    if container is not None:
        index = container["args"].index("--json_serialized_inputs_spec_args") + 1
        container["args"][index] = json.dumps(definitions, sort_keys=True)


def _set_step_settings(task: Document, container: Document, step: Step, deployment: Deployment) -> None:
    cluster = deployment.cluster
    container["image"] = step.image or cluster.image
    container["resources"] = {"cpuLimit": step.cpus, "memoryLimit": step.memory_gib * _GB_PER_GIB}
    if step.gpus:
        container["resources"]["accelerator"] = {"type": cluster.accelerator, "count": str(step.gpus)}
    if cluster.retries:
        task["retryPolicy"] = {
            "maxRetryCount": cluster.retries,
            "backoffDuration": f"{cluster.retry_seconds}s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": _RETRY_TIME_LIMIT,
        }
    container["args"] += ["--workspace", f"{cluster.shared}/work"]


def _rename_tasks(spec: Document) -> Document:
    """Replaces `_` by `-` in task names: Argo accepts only letters, digits and `-`."""
    names = {name: name.replace("_", "-") for name in spec["components"]}
    labels = {spec["components"][name]["executorLabel"]: f"exec-{new}" for name, new in names.items()}
    for component in spec["components"].values():
        component["executorLabel"] = labels[component["executorLabel"]]
    tasks = spec["root"]["dag"]["tasks"]
    for task in tasks.values():
        task["taskInfo"]["name"] = names[task["taskInfo"]["name"]]
        task["componentRef"]["name"] = names[task["componentRef"]["name"]]
        if "dependentTasks" in task:
            task["dependentTasks"] = [names[name] for name in task["dependentTasks"]]
        for _, source in task_sources(task):
            source["producerTask"] = names[source["producerTask"]]
    spec["components"] = {names[name]: component for name, component in spec["components"].items()}
    spec["root"]["dag"]["tasks"] = {names[name]: task for name, task in tasks.items()}
    executors = spec["deploymentSpec"]["executors"]
    spec["deploymentSpec"]["executors"] = {labels[label]: executor for label, executor in executors.items()}
    return spec


def _kubernetes_document(spec: Mapping[str, Any], deployment: Deployment) -> Document | None:
    """The document with the volume and secrets of each executor; None without volume and secrets."""
    cluster = deployment.cluster
    settings: Document = {}
    if cluster.volume:
        settings["pvcMount"] = [{"constant": cluster.volume, "mountPath": cluster.shared}]
    if cluster.secrets:
        settings["secretAsEnv"] = [
            {
                "secretName": secret,
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in keys.items()],
            }
            for secret, keys in cluster.secrets.items()
        ]
    if not settings:
        return None
    containers = [
        label for label, executor in spec["deploymentSpec"]["executors"].items() if "container" in executor
    ]
    executors = {label: copy.deepcopy(settings) for label in containers}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
