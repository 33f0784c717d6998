"""What students were when their first soft labels came: what differs in these has been the same."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from experiments.trials.trial import Trial
from models.settings import to_json

Array = Any

_KEPT = 8


class Beginning(NamedTuple):
    """Where such students part.

    Attributes:
        values: as of `Learner.values`.
        learnt: whether there has been a row to learn from.
        seconds: that it took to get there.
    """

    values: list[Array]
    learnt: bool
    seconds: float


_BEGINNINGS: dict[str, Beginning] = {}
"""Of a worker: the latest ones."""


def common_until(trial: Trial) -> int:
    """The span before which it does not matter how the trial is distilled; nothing of it may be kept."""
    labels = trial.labels
    if labels is None or trial.age or trial.kept_from < labels.first_span:
        return trial.first_span
    return max(trial.first_span, labels.first_span)


def name_of(stream: str, trial: Trial, surface: int | None) -> str:
    """Equal for trials that are the same until then, on one surface or all."""
    job = trial.job
    unweighed = {name: dataclasses.replace(each, weight=1.0) for name, each in job.distillation.items()}
    job = dataclasses.replace(job, distillation=unweighed)
    common = dataclasses.replace(trial, job=job, labels=None, last_span=common_until(trial))
    return f"{to_json(common)} {stream} {surface}"


def remembered(name: str) -> Beginning | None:
    """If it is one of the latest."""
    return _BEGINNINGS.get(name)


def remember(name: str, beginning: Beginning) -> None:
    """And forgets the oldest of too many."""
    _BEGINNINGS[name] = beginning
    while len(_BEGINNINGS) > _KEPT:
        del _BEGINNINGS[next(iter(_BEGINNINGS))]
