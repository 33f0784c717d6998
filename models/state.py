"""Training state beside a served model, for warm starts: variables, optimizer slots, step, description."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pydantic

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.settings import from_json, settings, to_json
from models.shard_names import SHARD_GLOB

EMPTY_MARKER = "NONE"
"""Name of the only file in an empty marker, an artifact without content, such as a Model before training."""
SERVING_FOLDER = "Format-Serving"
STATE_FOLDER = "training-state"
DEFERRED_FOLDER = "unlearned"
"""Folder of the shards of deferred spans, on which the next model must train."""
DIVERGED_FILE = "DIVERGED"
"""File that is written instead of a served model if training diverged; contains the reason."""
RECORD_FILE = "state.json"
_CHECKPOINT = "variables"


@settings
class StateRecord:
    """Content of `state.json`, which describes a training state.

    Attributes:
        feature_version: feature version of the transform graph that the training used.
        step: number of updates so far, including those before warm starts.
        spans: every span that the model has trained on, in order of training.
        role: role of the job.
        surface: surface of the job.
        job_hash: hash of `job`, from the function `job_hash`.
        job: the job of the last training.
        unlabelled_tasks: tasks for which training has had no hard label so far, including before warm starts.
    """

    feature_version: str
    step: int
    spans: list[int]
    role: str
    surface: str | None
    job_hash: str
    job: TrainingJob
    unlabelled_tasks: list[str] = dataclasses.field(default_factory=list)


def job_hash(job: TrainingJob) -> str:
    """12 hex digits of a hash of the job's JSON."""
    return hashlib.sha256(to_json(job).encode()).hexdigest()[:12]


def base_state_uri(base_model: str | None) -> str | None:
    """Folder of the base model's training state; None if there is no base model.

    Args:
        base_model: `<artifact>/Format-Serving`, as TFX's Trainer passes it, or None.
    """
    import tensorflow as tf

    if base_model is None or tf.io.gfile.exists(f"{_artifact_uri(base_model)}/{EMPTY_MARKER}"):
        return None
    return f"{_artifact_uri(base_model)}/{STATE_FOLDER}"


def deferred_shards(base_model: str | None) -> list[str]:
    """Shards of the deferred spans of a base model.

    Args:
        base_model: `<artifact>/Format-Serving`, as TFX's Trainer passes it, or None.
    """
    import tensorflow as tf

    if base_model is None:
        return []
    return sorted(tf.io.gfile.glob(f"{_artifact_uri(base_model)}/{DEFERRED_FOLDER}/Split-*/{SHARD_GLOB}"))


def divergence_reason(model_uri: str) -> str | None:
    """The reason why the training of a Model artifact diverged; None if it did not diverge."""
    import tensorflow as tf

    path = f"{model_uri.rstrip('/')}/{SERVING_FOLDER}/{DIVERGED_FILE}"
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "r") as file:
        return str(file.read())


def write_state(uri: str, record: StateRecord, **trackables: Any) -> None:
    """Writes the variables of `trackables`, then the record, so that a folder with a record is complete."""
    import tensorflow as tf

    tf.io.gfile.makedirs(uri)
    tf.train.Checkpoint(**trackables).write(f"{uri}/{_CHECKPOINT}")
    with tf.io.gfile.GFile(f"{uri}/{RECORD_FILE}", "w") as file:
        file.write(to_json(record))


def read_state_record(uri: str) -> StateRecord:
    """The record of a training state.

    Raises:
        BadInput: if there is no record, or it is not valid.
    """
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(f"{uri}/{RECORD_FILE}", "r") as file:
            return from_json(StateRecord, file.read())
    except (tf.errors.OpError, pydantic.ValidationError) as error:
        raise _unreadable(uri, f"a training state with {RECORD_FILE}", error) from error


def rename_surface(artifact_uri: str, surface: str) -> None:
    """Changes the surface in the training state of a Model artifact; does nothing to the empty marker.

    Raises:
        BadInput: if the record of the training state cannot be read.
    """
    import tensorflow as tf

    uri = f"{artifact_uri}/{STATE_FOLDER}"
    if not tf.io.gfile.exists(f"{uri}/{RECORD_FILE}"):
        return
    record = read_state_record(uri)
    job = dataclasses.replace(record.job, surface=surface)
    renamed = dataclasses.replace(record, surface=surface, job=job, job_hash=job_hash(job))
    with tf.io.gfile.GFile(f"{uri}/{RECORD_FILE}", "w") as file:
        file.write(to_json(renamed))


def restore_state(uri: str, **trackables: Any) -> None:
    """Restores every variable of `trackables`.

    Raises:
        BadInput: if the variables cannot be read, or the checkpoint has other variables.
    """
    import tensorflow as tf

    try:
        status = tf.train.Checkpoint(**trackables).read(f"{uri}/{_CHECKPOINT}")
        status.assert_existing_objects_matched()
        status.assert_consumed()
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        raise _unreadable(uri, "the model's variables, slots and step", error) from error


def check_warm_start(uri: str, record: StateRecord, job: TrainingJob, feature_version: str) -> None:
    """Checks that a warm start does not change the meaning of any variable.

    All other settings may change between spans, such as learning rate, loss weights, batch size and seed.

    Raises:
        BadInput: if feature version, role, surface, features, tasks, architecture, soft heads, or name or
            Clippy of the optimizer differ.
    """
    before = {"feature_version": record.feature_version, **fixed_settings(record.job)}
    now = {"feature_version": feature_version, **fixed_settings(job)}
    for name, value in now.items():
        if before[name] != value:
            raise BadInput(
                f"the base model has another {name}",
                where=uri,
                expected=value,
                got=before[name],
                fix="Restore the old setting, or train without a base model.",
            )


def fixed_settings(job: TrainingJob) -> dict[str, str]:
    """Settings that a warm start must not change, by their names in messages."""
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
        fix="Give the last good model as the base, or train without a base model.",
    )


def _artifact_uri(model_uri: str) -> str:
    return model_uri.rstrip("/").rpartition("/")[0]
