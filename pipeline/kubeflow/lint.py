"""Checks a compiled pipeline for faults that would make it fail on the cluster."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from tfx.orchestration.kubeflow.v2 import compiler_utils

from components.artifacts import UI_TYPES
from pipeline.cluster import find_step
from pipeline.config import Deployment
from pipeline.kubeflow.spec import task_sources

Document = Mapping[str, Any]
Rule = Callable[[Sequence[Document], Deployment], Iterator[str]]
"""A rule yields one text per fault. The rule's name is the first word of its faults' lines."""

_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")


def find_faults(documents: Sequence[Document], deployment: Deployment) -> list[str]:
    """Finds the faults of one compiled pipeline: applies every rule to its documents.

    Args:
        documents: The pipeline spec, then the document with Kubernetes settings, if there is one.
        deployment: The configuration from which the pipeline was compiled.

    Returns:
        One line per fault: the rule's name, the location and the fault.
    """
    return [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(documents, deployment)]


def version(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Open-source Kubeflow accepts schema 2.1.0 only."""
    if documents[0].get("schemaVersion") != "2.1.0":
        yield f"schemaVersion is {documents[0].get('schemaVersion')}, not 2.1.0"


def names(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Argo accepts only letters, digits and `-` in the name of a task."""
    for name in _tasks(documents):
        if not _NAME.fullmatch(name):
            yield f"task {name} has characters other than letters, digits and -"


def defaults(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every pipeline parameter has a default: a recurring run sets none."""
    for name, parameter in documents[0]["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        if "defaultValue" not in parameter:
            yield f"parameter {name} has no default"


def caching(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """No task is cached: the cache does not compare the files that a step reads at run time."""
    for name, task in _tasks(documents).items():
        if task.get("cachingOptions", {}).get("enableCache"):
            yield f"task {name} is cached"


def producers(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """A task waits for each task whose output it reads; the other task exists and has this output."""
    tasks, components = _tasks(documents), documents[0]["components"]
    for name, task in tasks.items():
        for upstream in task.get("dependentTasks", []):
            if upstream not in tasks:
                yield f"task {name} waits for {upstream}, which does not exist"
        for kind, source in task_sources(task):
            producer = source["producerTask"]
            key = source["outputArtifactKey" if kind == "artifacts" else "outputParameterKey"]
            if producer not in tasks:
                yield f"task {name} reads from {producer}, which does not exist"
                continue
            outputs = components[tasks[producer]["componentRef"]["name"]].get("outputDefinitions", {})
            if key not in outputs.get(kind, {}):
                yield f"task {name} reads {key} of {producer}, which has no such output"
            if producer not in task.get("dependentTasks", []):
                yield f"task {name} reads from {producer} but does not wait for it"


def inputs(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """A task binds every input of its component; parameters from other tasks are integers."""
    components = documents[0]["components"]
    for name, task in _tasks(documents).items():
        inputs_by_kind = components[task["componentRef"]["name"]].get("inputDefinitions", {})
        for kind in ("artifacts", "parameters"):
            bound_inputs = task.get("inputs", {}).get(kind, {})
            for missing in sorted(inputs_by_kind.get(kind, {}).keys() - bound_inputs.keys()):
                yield f"task {name} does not bind {missing}"
        for parameter, bound in task.get("inputs", {}).get("parameters", {}).items():
            actual = inputs_by_kind.get("parameters", {}).get(parameter, {}).get("parameterType")
            if "taskOutputParameter" in bound and actual != "NUMBER_INTEGER":
                yield f"task {name} declares {parameter} as {actual}, but its producer writes NUMBER_INTEGER"


def executors(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Open-source Kubeflow v2 runs containers and importers, but no resolvers."""
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        kinds = sorted(set(executor) - {"container", "importer"})
        if kinds:
            yield f"{label} is a {kinds[0]}, which open-source Kubeflow does not run"


def resources(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every container has limits of CPU and memory; a step without limits can use all memory of its node."""
    for label, container in _containers(documents):
        limits = container.get("resources", {})
        for limit in ("cpuLimit", "memoryLimit"):
            if not limits.get(limit):
                yield f"{label} has no {limit}"


def accelerators(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """Every container has the accelerators that the configuration sets for its step."""
    task_names = {component["executorLabel"]: name for name, component in documents[0]["components"].items()}
    steps = {name.replace("_", "-"): step for name, step in deployment.all_steps.items()}
    accelerator = deployment.cluster.accelerator
    for label, container in _containers(documents):
        actual = container.get("resources", {}).get("accelerator", {})
        gpus = find_step(steps, task_names[label]).gpus
        if gpus != int(actual.get("count", 0)) or (gpus and actual["type"] != accelerator):
            yield f"{label} needs {gpus} of {accelerator}, but has {actual or 'none'}"


def retries(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """Every container's task has the configured retries, and with them a time limit, which Argo needs."""
    components, containers = documents[0]["components"], dict(_containers(documents))
    for name, task in _tasks(documents).items():
        if components[task["componentRef"]["name"]]["executorLabel"] not in containers:
            continue
        policy = task.get("retryPolicy", {})
        if policy.get("maxRetryCount", 0) != deployment.cluster.retries:
            yield f"task {name} does not have {deployment.cluster.retries} retries"
        if policy and "backoffMaxDuration" not in policy:
            yield f"task {name} has no backoffMaxDuration"


def mounts(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """Every container mounts the shared folder and has the configured secrets as environment variables."""
    cluster = deployment.cluster
    platforms = [document["platforms"] for document in documents if "platforms" in document]
    settings = platforms[0]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
    for label, _ in _containers(documents):
        volumes = [
            (mount.get("constant"), mount.get("mountPath"))
            for mount in settings.get(label, {}).get("pvcMount", [])
        ]
        if cluster.volume and (cluster.volume, cluster.shared) not in volumes:
            yield f"{label} does not mount {cluster.volume} at {cluster.shared}"
        variables_by_secret = {
            secret["secretName"]: {key["secretKey"]: key["envVar"] for key in secret["keyToEnv"]}
            for secret in settings.get(label, {}).get("secretAsEnv", [])
        }
        for secret, variables in cluster.secrets.items():
            if variables_by_secret.get(secret) != variables:
                yield f"{label} lacks the secret {secret} with the variables {variables}"


def imports(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every artifact type and every executor is a class that can be imported."""
    titles = compiler_utils.TITLE_TO_CLASS_PATH.keys() | {ui_type.TYPE_NAME for ui_type in UI_TYPES}
    for name, component in documents[0]["components"].items():
        for definitions in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(definitions, {}).get("artifacts", {}).values():
                title = yaml.safe_load(artifact["artifactType"]["instanceSchema"])["title"]
                if title not in titles and not _can_import(title):
                    yield f"{name} has artifacts of type {title}, which cannot be imported"
    for label, container in _containers(documents):
        path = _argument(container, "--executor_class_path")
        if not _can_import(path):
            yield f"{label} runs {path}, which cannot be imported"


def arguments(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """A component's input definitions equal their copy, which is JSON in an argument of its container."""
    components = {component["executorLabel"]: component for component in documents[0]["components"].values()}
    for label, container in _containers(documents):
        definitions = json.loads(_argument(container, "--json_serialized_inputs_spec_args"))
        if definitions != components[label].get("inputDefinitions", {}):
            yield f"{label}: --json_serialized_inputs_spec_args differs from its component's inputDefinitions"


RULES: tuple[Rule, ...] = (
    version,
    names,
    defaults,
    caching,
    producers,
    inputs,
    executors,
    resources,
    accelerators,
    retries,
    mounts,
    imports,
    arguments,
)


def _tasks(documents: Sequence[Document]) -> Document:
    return documents[0]["root"]["dag"]["tasks"]  # type: ignore[no-any-return]


def _containers(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        if "container" in executor:
            yield label, executor["container"]


def _argument(container: Document, option: str) -> str:
    return str(container["args"][container["args"].index(option) + 1])


def _can_import(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except (ImportError, ValueError):
        # import_module raises ValueError if the path has no dot.
        return False
