"""What an experiment is told: which spans serve what, what is tried in tuning, what is claimed beforehand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pydantic
import yaml

from eventlog.errors import BadInput
from eventlog.spans import parse_range
from models.settings import settings
from pipeline.config import Deployment
from pipeline.config_file import load_deployment


@settings
class Grid:
    """What tuning tries: every arm, the control first of all, gets one trial a point.

    Attributes:
        learning_rates: Of Adagrad, per trial.
        passes: Over each span.
        input_dropouts: Of what embeddings and numbers bring in.
        soft_weights: Factors of the soft losses, dealt out to the points. The best points are tried with the
            others too, for which an arm without soft losses gets as many other learning rates.
        finalists: So many points are looked at again, and get all seeds; twice as many get all but one.
        seeds: How many seeds each finalist gets in all.
    """

    learning_rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    passes: tuple[int, ...] = (1, 2, 3)
    input_dropouts: tuple[float, ...] = (0.0, 0.3)
    soft_weights: tuple[float, ...] = (2.0, 8.0, 32.0)
    finalists: int = 4
    seeds: int = 3


@settings
class Endpoint:
    """A figure on which something is claimed.

    Attributes:
        task: Whose.
        metric: `auc` or `rmse`.
    """

    task: str
    metric: str


@settings
class Primary:
    """What is declared before anything is run; all else is exploratory.

    Attributes:
        arm: The arm of which it is claimed.
        versus: The arms that it is compared with.
        endpoints: On the largest surface and over all surfaces; Holm corrects over all of these together.
    """

    arm: str = "auxiliary-logit"
    versus: tuple[str, ...] = ("control",)
    endpoints: tuple[Endpoint, ...] = (
        Endpoint(task="watch_time", metric="rmse"),
        Endpoint(task="click", metric="auc"),
    )


@settings
class Experiment:
    """An experiment's protocol.

    Attributes:
        deployment: Its tasks, features, teacher and student; a path relative to the file.
        tuning: Spans `A:B` on which everything is chosen; the burn-in is the deployment's.
        reporting: Spans `A:B` that are reported; nothing is chosen on them.
        students_from: The first span that students and control learn. Soft labels come from the first span
            of the tuning stretch on, to students that have learnt hard labels until then.
        batch_size: Of all models, in place of the deployment's.
        task_weights: Factors of tasks' losses, hard and soft, in place of the deployment's; the same for
            every arm, and chosen, as all else, on the tuning stretch.
        grid: What tuning tries.
        resamples: Of clusters and seeds, behind each interval.
        min_positives: A binary task with fewer over the stretch gives no evidence and does not count in the
            criterion.
        slice_feature: The feature by whose values the leak of a teacher's bias is measured.
        primary: What is claimed.
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
                "nothing is chosen on what is reported."
            )

    @property
    def tuning_spans(self) -> range:
        """The tuning stretch."""
        return parse_range(self.tuning)

    @property
    def reporting_spans(self) -> range:
        """The reporting stretch."""
        return parse_range(self.reporting)


def load_experiment(path: Path) -> tuple[Experiment, Deployment]:
    """Reads an experiment and its deployment.

    Raises:
        BadInput: if a file is missing or holds an unknown key or a wrong value; the first fault is named.
    """
    if not path.is_file():
        raise _refusal(path, "a YAML file", "nothing", "experiments/configs/ holds working ones.")
    try:
        document = yaml.safe_load(path.read_text())
        experiment = pydantic.TypeAdapter(Experiment).validate_json(json.dumps(document))
    except (yaml.YAMLError, TypeError) as error:
        raise _refusal(path, "YAML with one mapping", " ".join(str(error).split()), "Mend it.") from error
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise _refusal(path, f"{where}: {fault['msg']}", repr(fault["input"]), "Correct it.") from error
    deployment = load_deployment(deployment_file(path, experiment))
    _check(path, experiment, deployment)
    return experiment, _weighted(deployment, experiment.task_weights)


def deployment_file(path: Path, experiment: Experiment) -> Path:
    """The deployment that the experiment at `path` names."""
    return path.parent / experiment.deployment


def _weighted(deployment: Deployment, weights: Mapping[str, float]) -> Deployment:
    tasks = {
        name: dataclasses.replace(task, weight=weights.get(name, task.weight))
        for name, task in deployment.tasks.items()
    }
    return dataclasses.replace(deployment, tasks=tasks)


def _check(path: Path, experiment: Experiment, deployment: Deployment) -> None:
    if experiment.tuning_spans.start <= deployment.burn_in_spans[-1]:
        raise _refusal(
            path, f"tuning behind the burn-in {deployment.burn_in}", experiment.tuning, "Move it back."
        )
    for endpoint in experiment.primary.endpoints:
        if endpoint.task not in deployment.student.tasks:
            tasks = ", ".join(deployment.student.tasks)
            raise _refusal(path, f"endpoints among {tasks}", endpoint.task, "Name another task.")
    for name in experiment.task_weights.keys() - deployment.tasks.keys():
        raise _refusal(path, f"task_weights of {', '.join(deployment.tasks)}", name, "Name another task.")
    if experiment.slice_feature not in deployment.features:
        raise _refusal(
            path, "slice_feature among the deployment's features", experiment.slice_feature, "Name another."
        )


def _refusal(path: Path, expected: str, got: str, fix: str) -> BadInput:
    return BadInput("not an experiment", where=str(path), expected=expected, got=got, fix=fix)
