"""Shares the training that several trials have in common: all spans before the first soft label."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from experiments.trials.trial import Trial
from models.settings import to_json

Array = Any

MAX_CACHED_PREFIXES = 8


class TrainedPrefix(NamedTuple):
    """A model that has trained on the shared prefix.

    Attributes:
        values: the model's state, see `Learner.values`.
        has_trained: False if the prefix has no row to train on.
        seconds: duration of the training in seconds.
    """

    values: list[Array]
    has_trained: bool
    seconds: float


class PrefixCache(dict[str, TrainedPrefix]):
    """The latest prefixes by `prefix_key`, at most `MAX_CACHED_PREFIXES`; drops the oldest."""

    def __setitem__(self, key: str, prefix: TrainedPrefix) -> None:
        super().__setitem__(key, prefix)
        while len(self) > MAX_CACHED_PREFIXES:
            del self[next(iter(self))]


def prefix_end(trial: Trial) -> int:
    """The first span that is not part of the shared prefix: usually the first span with soft labels.

    Before this span, soft weights and soft labels do not affect training. The prefix is empty, and the result
    is `trial.first_span`, if the trial

    - has no soft labels,
    - has an `extra_age` above 0,
    - returns predictions for spans before the first soft label: a prefix has no predictions.
    """
    labels = trial.label_source
    if labels is None or trial.extra_age or trial.kept_from < labels.first_span:
        return trial.first_span
    return max(trial.first_span, labels.first_span)


def prefix_key(stream_key: str, trial: Trial, surface: int | None, compiled: bool) -> str:
    """A key: trials with equal keys train identically before `prefix_end`.

    Args:
        stream_key: see `ExampleStream.key`.
        trial: the trial. Its soft weights, soft labels and last span do not change the key.
        surface: code of the model's surface; None for a model of all surfaces.
        compiled: whether XLA compiles the training steps, which changes the rounding.
    """
    job = trial.job
    equal_weights = {
        name: dataclasses.replace(distillation, weight=1.0) for name, distillation in job.distillation.items()
    }
    job = dataclasses.replace(job, distillation=equal_weights)
    # This trial is never run: only its JSON is used.
    key_trial = dataclasses.replace(trial, job=job, label_source=None, last_span=prefix_end(trial))
    return f"{to_json(key_trial)} {stream_key} {surface} {compiled}"
