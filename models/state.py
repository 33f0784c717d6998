"""The training state beside a served model: all heads, optimizer slots and step, and what they belong to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pydantic

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.settings import from_json, settings, to_json

EMPTY_MARKER = "NONE"
"""A Model artifact that holds only a file of this name means: no model yet."""
SERVING_FOLDER = "Format-Serving"
STATE_FOLDER = "training-state"
UNLEARNED_FOLDER = "unlearned"
"""Splits of shards that a good model still has to learn, since the candidates that did were discarded."""
DIVERGED_FILE = "DIVERGED"
"""In the place of a served model: training was given up, for the reason in the file."""
_RECORD_FILE = "state.json"
_CHECKPOINT = "variables"


@settings
class StateRecord:
    """What `state.json` says of the variables beside it.

    Attributes:
        feature_version: of the transform graph the model was trained on.
        step: updates so far, warm starts included.
        spans: every span the model has been trained on, in that order.
        role: the job's.
        surface: the job's.
        job_hash: 12 hex digits of the job's JSON.
        job: the last training job.
    """

    feature_version: str
    step: int
    spans: list[int]
    role: str
    surface: str | None
    job_hash: str
    job: TrainingJob


def job_hash(job: TrainingJob) -> str:
    """12 hex digits, equal for equal jobs."""
    return hashlib.sha256(to_json(job).encode()).hexdigest()[:12]


def state_uri_of(base_model: str | None) -> str | None:
    """The training state beside a served model, None where there is no model yet.

    Args:
        base_model: `<artifact>/Format-Serving` as TFX's Trainer hands it on, or None.
    """
    import tensorflow as tf

    if base_model is None:
        return None
    artifact = base_model.rstrip("/").rpartition("/")[0]
    if tf.io.gfile.exists(f"{artifact}/{EMPTY_MARKER}"):
        return None
    return f"{artifact}/{STATE_FOLDER}"


def unlearned_files(base_model: str | None) -> list[str]:
    """Shards of the spans that came after the base model and that it has not learnt.

    Args:
        base_model: `<artifact>/Format-Serving` as TFX's Trainer hands it on, or None.
    """
    import tensorflow as tf

    if base_model is None:
        return []
    artifact = base_model.rstrip("/").rpartition("/")[0]
    return sorted(tf.io.gfile.glob(f"{artifact}/{UNLEARNED_FOLDER}/Split-*/span-*.gz"))


def divergence(model_uri: str) -> str | None:
    """Why the training of a Model artifact was given up; None of a model that is there."""
    import tensorflow as tf

    path = f"{model_uri.rstrip('/')}/{SERVING_FOLDER}/{DIVERGED_FILE}"
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "r") as file:
        return str(file.read())


def write_state(uri: str, record: StateRecord, **trackables: Any) -> None:
    """Writes variables first and the record last: a folder with a record is complete."""
    import tensorflow as tf

    tf.io.gfile.makedirs(uri)
    tf.train.Checkpoint(**trackables).write(f"{uri}/{_CHECKPOINT}")
    with tf.io.gfile.GFile(f"{uri}/{_RECORD_FILE}", "w") as file:
        file.write(to_json(record))


def read_record(uri: str) -> StateRecord:
    """The record of a training state.

    Raises:
        BadInput: if there is none, or it does not read as one.
    """
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(f"{uri}/{_RECORD_FILE}", "r") as file:
            return from_json(StateRecord, file.read())
    except (tf.errors.OpError, pydantic.ValidationError) as error:
        raise _unreadable(uri, f"a training state with {_RECORD_FILE}", error) from error


def restore_state(uri: str, **trackables: Any) -> None:
    """Restores every variable of `trackables`, all or none left behind.

    Raises:
        BadInput: if the variables cannot be read, or are not exactly these.
    """
    import tensorflow as tf

    try:
        status = tf.train.Checkpoint(**trackables).read(f"{uri}/{_CHECKPOINT}")
        status.assert_existing_objects_matched()
        status.assert_consumed()
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        raise _unreadable(uri, "the model's variables, slots and step", error) from error


def check_resumable(uri: str, record: StateRecord, job: TrainingJob, feature_version: str) -> None:
    """Refuses a warm start that would give old variables a new meaning.

    Learning rate, loss weights, temperatures, batch size, passes and seed may change from span to span.

    Raises:
        BadInput: if feature version, role, surface, features, tasks, architecture, soft heads or kind of
            optimizer differ.
    """
    before = {"feature_version": record.feature_version, **_meaning(record.job)}
    now = {"feature_version": feature_version, **_meaning(job)}
    for name, value in now.items():
        if before[name] != value:
            raise BadInput(
                f"the base model has another {name}",
                where=uri,
                expected=value,
                got=before[name],
                fix="Restore the old setting, or start anew without a base model (a new generation).",
            )


def _meaning(job: TrainingJob) -> dict[str, str]:
    soft_heads = {name: job.distillation[name].head for name in job.auxiliary_tasks}
    tasks = {name: (task.kind, task.unit, task.scale, task.loss) for name, task in job.tasks.items()}
    return {
        "role": job.role,
        "surface": str(job.surface),
        "features": json.dumps({name: repr(feature) for name, feature in job.features.items()}),
        "tasks": json.dumps(tasks),
        "architecture": repr(job.architecture),
        "soft heads": json.dumps(soft_heads),
        "optimizer": f"{job.optimizer.name}, clippy {job.optimizer.clippy}",
    }


def _unreadable(uri: str, expected: str, error: Exception) -> BadInput:
    return BadInput(
        "the base model's training state cannot be read",
        where=uri,
        expected=expected,
        got=f"{type(error).__name__}: {error}"[:300],
        fix="Give the last good model as the base, or none to start anew.",
    )
