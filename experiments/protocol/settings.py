"""Protocol of an experiment: its spans, the tuning grid and the primary endpoints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pydantic

from eventlog.errors import BadInput
from eventlog.spans import parse_range
from models.settings import settings
from pipeline.config import Deployment
from pipeline.config_file import load_deployment
from pipeline.yaml_file import read_mapping


@settings
class Grid:
    """The points (combinations of hyperparameters) that tuning tries, equally many for every arm.

    Attributes:
        learning_rates: Learning rates of Adagrad.
        passes: Numbers of training passes over each span.
        input_dropouts: Dropout rates of embeddings and numeric features.
        soft_weights: Factors of the soft losses; each point has one at random. The best points are also tried
            with the other factors. An arm without soft losses tries as many other learning rates instead.
        finalists: Number of points that are tried with the last seed. The seed before it is tried with twice
            as many points, and so on; the first seed is tried with all points.
        seeds: Number of seeds of a finalist.
    """

    learning_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    passes: tuple[int, ...] = (1, 2, 3)
    input_dropouts: tuple[float, ...] = (0.0, 0.3)
    soft_weights: tuple[float, ...] = (2.0, 8.0, 32.0)
    finalists: int = 4
    seeds: int = 3

    def __post_init__(self) -> None:
        for name in ("learning_rates", "passes", "input_dropouts", "soft_weights"):
            if not getattr(self, name):
                raise ValueError(f"{name} must have at least one value.")
        for name in ("finalists", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")


@settings
class Endpoint:
    """A metric of one task on which the experiment makes a claim.

    Attributes:
        task: Name of the task.
        metric: `auc` or `rmse`.
    """

    task: str
    metric: Literal["auc", "rmse"]


@settings
class Primary:
    """The claim, declared before the experiment runs; all other results are exploratory.

    Attributes:
        arm: The arm that the claim is about.
        versus: The arms that `arm` is compared with.
        endpoints: The metrics that are tested, on the largest surface and over all surfaces. The p-values of
            all these tests are Holm-corrected together. If empty: RMSE and AUC of the student's first
            immediate regression task and first immediate binary task of group `pet`.
    """

    arm: str = "auxiliary-logit"
    versus: tuple[str, ...] = ("control",)
    endpoints: tuple[Endpoint, ...] = ()


@settings
class ExperimentProtocol:
    """The protocol of an experiment.

    Attributes:
        deployment: Path of the deployment's file, relative to the protocol's file. It gives tasks, features,
            teacher, student and burn-in.
        tuning: Tuning spans `A:B`, both included: all choices are made on them.
        reporting: Reporting spans `A:B`, both included: no choice uses them. All results are of these spans,
            except those of `stability`, which uses the spans up to the last tuning span.
        students_from: The first span that students and control train on. In experiments, students have soft
            labels from the first tuning span on; before, they train on hard labels alone.
        batch_size: Batch size of all models; replaces the deployment's.
        task_weights: Factors of the hard and soft losses by task, the same for every arm. They replace the
            deployment's. Choose them on the tuning spans.
        grid: The tuning grid.
        resamples: Number of resamples of clusters and seeds for each interval.
        min_positives: A binary task with fewer positives on the reporting spans gives no evidence. The
            criterion leaves out a binary task with fewer positives or negatives on the tuning spans, and a
            regression task with fewer labels.
        slice_feature: The feature whose values are the slices on which the leak is measured. Only the
            experiment `strategy` measures it. None: that experiment ends with an error.
        primary: The claim.
    """

    deployment: str
    tuning: str
    reporting: str
    students_from: int = 0
    batch_size: int = 128
    task_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    grid: Grid = dataclasses.field(default_factory=Grid)
    resamples: int = 2000
    min_positives: int = 300
    slice_feature: str | None = None
    primary: Primary = dataclasses.field(default_factory=Primary)

    def __post_init__(self) -> None:
        for name in ("batch_size", "resamples", "min_positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.tuning_spans.stop > self.reporting_spans.start:
            raise ValueError(
                f"tuning {self.tuning} must end before reporting {self.reporting}: "
                "no choice may use the reporting spans."
            )

    def require_slice_feature(self) -> str:
        """Returns `slice_feature`.

        Raises:
            BadInput: if it is not set.
        """
        if self.slice_feature is None:
            raise BadInput(
                "no slices for the leak", where="the experiment's protocol", expected="slice_feature: NAME",
                got="none", fix="Name a feature with few values, such as the hour.",
            )  # fmt: skip
        return self.slice_feature

    @property
    def tuning_spans(self) -> range:
        """`tuning` as a range."""
        return parse_range(self.tuning)

    @property
    def reporting_spans(self) -> range:
        """`reporting` as a range."""
        return parse_range(self.reporting)


def load_protocol(path: Path) -> tuple[ExperimentProtocol, Deployment]:
    """Reads a protocol and its deployment, with the protocol's `task_weights` in the deployment's tasks.

    Raises:
        BadInput: if a file is missing, or has an unknown key or a wrong value. The message names the first
            fault.
    """
    if not path.is_file():
        raise _bad_protocol(path, "a YAML file", "no file", "experiments/configs/ has examples.")
    document = read_mapping(path)
    try:
        protocol = pydantic.TypeAdapter(ExperimentProtocol).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        expected = f"{where}: {fault['msg']}"
        raise _bad_protocol(path, expected, repr(fault["input"]), "Correct the value.") from error
    deployment = load_deployment(deployment_file(path, protocol))
    if not protocol.primary.endpoints:
        primary = dataclasses.replace(protocol.primary, endpoints=_default_endpoints(deployment))
        protocol = dataclasses.replace(protocol, primary=primary)
    _check(path, protocol, deployment)
    return protocol, _with_task_weights(deployment, protocol.task_weights)


def require_spans(protocol: ExperimentProtocol, last_span: int, events: Path) -> None:
    """Checks that an event log has all spans of the protocol; `last_span` is the log's last span.

    Raises:
        BadInput: if the log ends before the last reporting span.
    """
    if last_span < protocol.reporting_spans[-1]:
        raise BadInput(
            "the event log is too short", where=str(events),
            expected=f"all spans of reporting {protocol.reporting}", got=f"spans up to {last_span}",
            fix="Add the missing spans, or shorten `reporting`.",
        )  # fmt: skip


def deployment_file(path: Path, protocol: ExperimentProtocol) -> Path:
    """The path of the deployment's file; `path` is the file of `protocol`."""
    return path.parent / protocol.deployment


def _default_endpoints(deployment: Deployment) -> tuple[Endpoint, ...]:
    """See `Primary.endpoints`."""
    endpoints = []
    metrics: dict[str, Literal["auc", "rmse"]] = {"regression": "rmse", "binary": "auc"}
    for kind, metric in metrics.items():
        names = [
            name
            for name in deployment.student.tasks
            if deployment.tasks[name].kind == kind
            and deployment.tasks[name].group == "pet"
            and not deployment.tasks[name].delayed
        ]
        endpoints += [Endpoint(task=name, metric=metric) for name in names[:1]]
    return tuple(endpoints)


def _with_task_weights(deployment: Deployment, weights: Mapping[str, float]) -> Deployment:
    tasks = {
        name: dataclasses.replace(task, weight=weights.get(name, task.weight))
        for name, task in deployment.tasks.items()
    }
    return dataclasses.replace(deployment, tasks=tasks)


def _check(path: Path, protocol: ExperimentProtocol, deployment: Deployment) -> None:
    if protocol.tuning_spans.start <= deployment.burn_in_spans[-1]:
        expected = f"tuning spans after the burn-in {deployment.burn_in}"
        raise _bad_protocol(path, expected, protocol.tuning, "Start tuning later.")
    if not protocol.primary.endpoints:
        expected = "primary.endpoints: at least one task and metric"
        raise _bad_protocol(path, expected, "no immediate task of group pet", "Name the endpoints.")
    for endpoint in protocol.primary.endpoints:
        if endpoint.task not in deployment.student.tasks:
            tasks = ", ".join(deployment.student.tasks)
            raise _bad_protocol(path, f"endpoints among {tasks}", endpoint.task, "Name another task.")
    for name in protocol.task_weights.keys() - deployment.tasks.keys():
        expected = f"task_weights of {', '.join(deployment.tasks)}"
        raise _bad_protocol(path, expected, name, "Name another task.")
    if protocol.slice_feature is not None and protocol.slice_feature not in deployment.features:
        expected = "slice_feature among the deployment's features"
        raise _bad_protocol(path, expected, protocol.slice_feature, "Name another feature.")


def _bad_protocol(path: Path, expected: str, got: str, fix: str) -> BadInput:
    return BadInput("not an experiment's protocol", where=str(path), expected=expected, got=got, fix=fix)
