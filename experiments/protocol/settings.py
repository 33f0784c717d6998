"""Protocol of an experiment: its spans, the tuning grid and the primary endpoints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pydantic

from eventlog.errors import BadInput
from eventlog.spans import parse_range
from models.settings import settings
from pipeline.config import Deployment
from pipeline.config_file import load_deployment
from pipeline.yaml_file import read_mapping


@settings
class Grid:
    """The hyperparameter points that tuning tries, the same number for every arm and the control.

    Attributes:
        learning_rates: Of Adagrad.
        passes: Training passes over each span.
        input_dropouts: Dropout rates of embeddings and numeric features.
        soft_weights: Factors of the soft losses, assigned to the points at random. The best points are also
            tried with the other factors. An arm without soft losses tries as many other learning rates.
        finalists: Number of points that are tried with all seeds; twice as many with one seed less.
        seeds: Number of seeds of a finalist.
    """

    learning_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    passes: tuple[int, ...] = (1, 2, 3)
    input_dropouts: tuple[float, ...] = (0.0, 0.3)
    soft_weights: tuple[float, ...] = (2.0, 8.0, 32.0)
    finalists: int = 4
    seeds: int = 3


@settings
class Endpoint:
    """A metric of a task on which a claim is made.

    Attributes:
        task: Name of the task.
        metric: `auc` or `rmse`.
    """

    task: str
    metric: str


@settings
class Primary:
    """The claim, declared before the experiment runs; all other results are exploratory.

    Attributes:
        arm: The arm that the claim is about.
        versus: The arms that it is compared with.
        endpoints: Tested on the largest surface and over all surfaces; Holm corrects all tests together.
    """

    arm: str = "auxiliary-logit"
    versus: tuple[str, ...] = ("control",)
    endpoints: tuple[Endpoint, ...] = (
        Endpoint(task="watch_time", metric="rmse"),
        Endpoint(task="click", metric="auc"),
    )


@settings
class ExperimentProtocol:
    """The protocol of an experiment.

    Attributes:
        deployment: The deployment's file: tasks, features, teacher and student. Relative to this file.
        tuning: Tuning spans `A:B`: all choices are made on them. The burn-in is the deployment's.
        reporting: Reporting spans `A:B`: only they are reported, and no choice uses them.
        students_from: The first span that students and control train on. Soft labels start at the first
            tuning span; students train on hard labels alone before.
        batch_size: Batch size of all models; replaces the deployment's.
        task_weights: Factors of the tasks' hard and soft losses; they replace the deployment's. They are the
            same for every arm, and chosen on the tuning spans.
        grid: The tuning grid.
        resamples: Number of resamples of clusters and seeds for each interval.
        min_positives: A binary task with fewer positives gives no evidence and is left out of the criterion.
        slice_feature: The feature whose values are the slices on which bias leak is measured.
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
    slice_feature: str = "hour"
    primary: Primary = dataclasses.field(default_factory=Primary)

    def __post_init__(self) -> None:
        if self.tuning_spans.stop > self.reporting_spans.start:
            raise ValueError(
                f"tuning {self.tuning} must end before reporting {self.reporting}: "
                "no choice may use the reporting spans."
            )

    @property
    def tuning_spans(self) -> range:
        """`tuning` as a range."""
        return parse_range(self.tuning)

    @property
    def reporting_spans(self) -> range:
        """`reporting` as a range."""
        return parse_range(self.reporting)


def load_protocol(path: Path) -> tuple[ExperimentProtocol, Deployment]:
    """Reads a protocol and its deployment.

    Raises:
        BadInput: if a file is missing, or holds an unknown key or a wrong value; names the first fault.
    """
    if not path.is_file():
        raise _bad_protocol(path, "a YAML file", "no file", "experiments/configs/ holds examples.")
    document = read_mapping(path)
    try:
        protocol = pydantic.TypeAdapter(ExperimentProtocol).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        expected = f"{where}: {fault['msg']}"
        raise _bad_protocol(path, expected, repr(fault["input"]), "Correct the value.") from error
    deployment = load_deployment(deployment_file(path, protocol))
    _check(path, protocol, deployment)
    return protocol, _with_task_weights(deployment, protocol.task_weights)


def deployment_file(path: Path, protocol: ExperimentProtocol) -> Path:
    """The deployment file of the protocol at `path`."""
    return path.parent / protocol.deployment


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
    for endpoint in protocol.primary.endpoints:
        if endpoint.task not in deployment.student.tasks:
            tasks = ", ".join(deployment.student.tasks)
            raise _bad_protocol(path, f"endpoints among {tasks}", endpoint.task, "Name another task.")
    for name in protocol.task_weights.keys() - deployment.tasks.keys():
        expected = f"task_weights of {', '.join(deployment.tasks)}"
        raise _bad_protocol(path, expected, name, "Name another task.")
    if protocol.slice_feature not in deployment.features:
        expected = "slice_feature among the deployment's features"
        raise _bad_protocol(path, expected, protocol.slice_feature, "Name another feature.")


def _bad_protocol(path: Path, expected: str, got: str, fix: str) -> BadInput:
    return BadInput("not an experiment's protocol", where=str(path), expected=expected, got=got, fix=fix)
