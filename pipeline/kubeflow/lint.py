"""What makes a compiled pipeline fail on the cluster, found before it gets there."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from tfx.orchestration.kubeflow.v2 import compiler_utils

from components.artifacts import UI_TYPES
from pipeline.cluster import step_of
from pipeline.config import Deployment

Document = Mapping[str, Any]
Rule = Callable[[Sequence[Document], Deployment], Iterator[str]]

_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")


def find_faults(documents: Sequence[Document], deployment: Deployment) -> list[str]:
    """Applies every rule to the documents of one compiled pipeline.

    Args:
        documents: The pipeline spec, and what Kubernetes is asked for.
        deployment: The configuration they were compiled from.

    Returns:
        A line for each fault: where, what is wrong.
    """
    return [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(documents, deployment)]


def version(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Open-source Kubeflow takes schema 2.1.0 alone."""
    if documents[0].get("schemaVersion") != "2.1.0":
        yield f"schemaVersion is {documents[0].get('schemaVersion')}, not 2.1.0"


def names(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Argo takes letters, digits and `-`."""
    for name in _tasks(documents):
        if not _NAME.fullmatch(name):
            yield f"task {name} has characters other than letters, digits and -"


def defaults(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """A recurring run gives no parameters."""
    for name, parameter in documents[0]["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        if "defaultValue" not in parameter:
            yield f"parameter {name} has no default"


def caching(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """What a step finds at run time (span, records, events) is not among what the cache compares."""
    for name, task in _tasks(documents).items():
        if task.get("cachingOptions", {}).get("enableCache"):
            yield f"task {name} is cached"


def producers(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every task that another waits for or reads from is there, and has that output."""
    tasks, components = _tasks(documents), documents[0]["components"]
    for name, task in tasks.items():
        for needed in task.get("dependentTasks", []):
            if needed not in tasks:
                yield f"task {name} waits for {needed}, which is not there"
        for kind, source in _sources(task):
            producer = source["producerTask"]
            key = source["outputArtifactKey" if kind == "artifacts" else "outputParameterKey"]
            if producer not in tasks:
                yield f"task {name} reads from {producer}, which is not there"
                continue
            outputs = components[tasks[producer]["componentRef"]["name"]].get("outputDefinitions", {})
            if key not in outputs.get(kind, {}):
                yield f"task {name} reads {key} of {producer}, which has no such output"
            if producer not in task.get("dependentTasks", []):
                yield f"task {name} reads from {producer} and does not wait for it"


def inputs(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """A task binds all that its component asks for, found values with the type they have."""
    components = documents[0]["components"]
    for name, task in _tasks(documents).items():
        asked = components[task["componentRef"]["name"]].get("inputDefinitions", {})
        for kind in ("artifacts", "parameters"):
            bound = task.get("inputs", {}).get(kind, {})
            for missing in sorted(asked.get(kind, {}).keys() - bound.keys()):
                yield f"task {name} is not given {missing}"
        for parameter, bound in task.get("inputs", {}).get("parameters", {}).items():
            kind = asked.get("parameters", {}).get(parameter, {}).get("parameterType")
            if "taskOutputParameter" in bound and kind != "NUMBER_INTEGER":
                yield f"task {name} takes {parameter} for {kind}, and it is found as NUMBER_INTEGER"


def executors(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Open-source Kubeflow v2 runs containers and importers; resolvers above all it does not."""
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        kinds = sorted(set(executor) - {"container", "importer"})
        if kinds:
            yield f"{label} is a {kinds[0]}, which open-source Kubeflow does not run"


def resources(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every container has limits: without, one step takes a node's memory from all others."""
    for label, container in _containers(documents):
        given = container.get("resources", {})
        for limit in ("cpuLimit", "memoryLimit"):
            if not given.get(limit):
                yield f"{label} has no {limit}"


def accelerators(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """Every container has the accelerators that the configuration gives its step, the teacher's above all."""
    labels = {component["executorLabel"]: name for name, component in documents[0]["components"].items()}
    steps = {name.replace("_", "-"): step for name, step in deployment.all_steps.items()}
    for label, container in _containers(documents):
        given = container.get("resources", {}).get("accelerator", {})
        gpus = step_of(steps, labels[label]).gpus
        if gpus != int(given.get("count", 0)) or (gpus and given["type"] != deployment.cluster.accelerator):
            yield f"{label} shall have {gpus} of {deployment.cluster.accelerator} and has {given or 'none'}"


def retries(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """A step that is tried again has a time within which: Kubeflow's default lets Argo try nothing again."""
    for name, task in _tasks(documents).items():
        policy = task.get("retryPolicy", {})
        if policy.get("maxRetryCount", 0) != deployment.cluster.retries:
            yield f"task {name} is not tried again {deployment.cluster.retries} times"
        if policy and "backoffMaxDuration" not in policy:
            yield f"task {name} has no backoffMaxDuration"


def mounts(documents: Sequence[Document], deployment: Deployment) -> Iterator[str]:
    """Every container sees the shared folder, and has the secrets of the configuration."""
    platforms = [document["platforms"] for document in documents if "platforms" in document]
    asked = platforms[0]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
    for label, _ in _containers(documents):
        mounted = [each.get("constant") for each in asked.get(label, {}).get("pvcMount", [])]
        if deployment.cluster.volume and deployment.cluster.volume not in mounted:
            yield f"{label} does not mount {deployment.cluster.volume}"
        secrets = [each["secretName"] for each in asked.get(label, {}).get("secretAsEnv", [])]
        for secret in deployment.cluster.secrets:
            if secret not in secrets:
                yield f"{label} lacks the secret {secret}"


def imports(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """Every artifact's title and every executor is a class that can be imported."""
    known = compiler_utils.TITLE_TO_CLASS_PATH.keys() | {each.TYPE_NAME for each in UI_TYPES}
    for name, component in documents[0]["components"].items():
        for definitions in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(definitions, {}).get("artifacts", {}).values():
                title = yaml.safe_load(artifact["artifactType"]["instanceSchema"])["title"]
                if title not in known and not _is_there(title):
                    yield f"{name} has artifacts of type {title}, which cannot be imported"
    for label, container in _containers(documents):
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        if not _is_there(path):
            yield f"{label} runs {path}, which cannot be imported"


def arguments(documents: Sequence[Document], _: Deployment) -> Iterator[str]:
    """What a container is told of its component's inputs is what the component says."""
    labels = {each["executorLabel"]: each for each in documents[0]["components"].values()}
    for label, container in _containers(documents):
        told = json.loads(
            container["args"][container["args"].index("--json_serialized_inputs_spec_args") + 1]
        )
        if told != labels[label].get("inputDefinitions", {}):
            yield f"{label} is told of other inputs than its component has"


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


def _sources(task: Document) -> Iterator[tuple[str, Document]]:
    for kind, source in (("artifacts", "taskOutputArtifact"), ("parameters", "taskOutputParameter")):
        for bound in task.get("inputs", {}).get(kind, {}).values():
            if source in bound:
                yield kind, bound[source]


def _is_there(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False
