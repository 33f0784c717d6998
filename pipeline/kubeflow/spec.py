"""What TFX's compiler leaves undone in a pipeline spec: names, types, defaults, resources, volumes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.cluster import Step, step_of
from pipeline.config import Deployment

_GB_PER_GIB = 2**30 / 1e9
"""Kubeflow's driver takes the limit for decimal gigabytes."""
_RETRY_WITHIN = f"{7 * 24 * 3600}s"
"""From the first attempt's start; without it Kubeflow says 0, and Argo then never tries again."""

Document = dict[str, Any]


def finish(spec: Mapping[str, Any], deployment: Deployment, defaults: Mapping[str, int]) -> list[Document]:
    """Makes a compiled pipeline one that open-source Kubeflow runs, and Vertex AI as well.

    Args:
        spec: What `KubeflowV2DagRunner` compiled, in the JSON form of KFP's PipelineSpec 2.1.
        deployment: Says what the steps are given.
        defaults: By name of a parameter of the pipeline; TFX drops them.

    Returns:
        The spec, and a second document for Kubernetes if there is a volume or a secret.
    """
    finished = copy.deepcopy(dict(spec))
    executors = finished["deploymentSpec"]["executors"]
    for name, task in finished["root"]["dag"]["tasks"].items():
        component = finished["components"][name]
        container = executors[component["executorLabel"]].get("container")
        _mend_found_values(task, component, container)
        task["cachingOptions"] = {}
        if container is not None:
            _give(task, container, step_of(deployment.all_steps, name), deployment)
    for name, default in defaults.items():
        finished["root"]["inputDefinitions"]["parameters"][name] |= {
            "defaultValue": float(default),
            "isOptional": True,
        }
    finished["defaultPipelineRoot"] = deployment.cluster.pipeline_root
    renamed = _rename(finished)
    platform = _kubernetes(renamed, deployment)
    return [renamed, platform] if platform else [renamed]


def _mend_found_values(task: Document, component: Document, container: Document | None) -> None:
    """Values that another step finds out: TFX names a producer that is none, and takes them for text."""
    definitions = component.get("inputDefinitions", {})
    for name, bound in task.get("inputs", {}).get("parameters", {}).items():
        if "taskOutputParameter" in bound:
            source = bound["taskOutputParameter"]
            source["producerTask"] = source["producerTask"].removesuffix("_task")
            definitions["parameters"][name]["parameterType"] = "NUMBER_INTEGER"
    if container is not None:
        place = container["args"].index("--json_serialized_inputs_spec_args") + 1
        container["args"][place] = json.dumps(definitions, sort_keys=True)


def _give(task: Document, container: Document, step: Step, deployment: Deployment) -> None:
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
            "backoffMaxDuration": _RETRY_WITHIN,
        }
    container["args"] += ["--workspace", f"{cluster.shared}/work"]


def _rename(spec: Document) -> Document:
    """Names of tasks as Argo takes them: letters, digits and `-`."""
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
        for source in _sources(task):
            source["producerTask"] = names[source["producerTask"]]
    spec["components"] = {names[name]: component for name, component in spec["components"].items()}
    spec["root"]["dag"]["tasks"] = {names[name]: task for name, task in tasks.items()}
    executors = spec["deploymentSpec"]["executors"]
    spec["deploymentSpec"]["executors"] = {labels[label]: executor for label, executor in executors.items()}
    return spec


def _sources(task: Mapping[str, Any]) -> Iterator[Document]:
    """Every place at which a task names the task that a value comes from."""
    for kind in ("artifacts", "parameters"):
        for bound in task.get("inputs", {}).get(kind, {}).values():
            for source in ("taskOutputArtifact", "taskOutputParameter"):
                if source in bound:
                    yield bound[source]


def _kubernetes(spec: Mapping[str, Any], deployment: Deployment) -> Document | None:
    """The part that is no matter of the pipeline: mounts and secrets, by executor."""
    cluster = deployment.cluster
    asked: Document = {}
    if cluster.volume:
        asked["pvcMount"] = [{"constant": cluster.volume, "mountPath": cluster.shared}]
    if cluster.secrets:
        asked["secretAsEnv"] = [
            {
                "secretName": secret,
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in keys.items()],
            }
            for secret, keys in cluster.secrets.items()
        ]
    if not asked:
        return None
    containers = [
        label for label, executor in spec["deploymentSpec"]["executors"].items() if "container" in executor
    ]
    executors = {label: copy.deepcopy(asked) for label in containers}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
