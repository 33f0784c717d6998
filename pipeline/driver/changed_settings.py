"""Compares the configuration with the root's recorded one; refuses changes that the models cannot take."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pydantic

from components.span_records import BURN_IN, TEACHER, read_record, recorded_spans, surface_burn_in
from eventlog.errors import BadInput
from models.settings import from_json, to_json
from models.state import fixed_settings
from pipeline.config import Deployment
from pipeline.paths import RunPaths

_MAX_LISTED_CHANGES = 6
_NOTHING = object()
"""Stands for a setting that one of two configurations lacks."""
_NEW_ROOT = "a new root"
_NEW_TEACHER = "a new teacher (a burn-in in a new root)"
_NEW_FEATURES = "a new feature version (a burn-in in a new root)"


def require_settings(deployment: Deployment, paths: RunPaths) -> None:
    """Compares the configuration with the root's recorded one.

    Args:
        deployment: The configuration.
        paths: The paths of the run; `deployment.json` in the root is the recorded configuration.

    Raises:
        BadInput: if a change does not fit the models of the root. The message lists such changes and their
            remedies. Also if the recorded configuration cannot be read.
    """
    before = _read_recorded(paths)
    refused = {} if before is None else dict(_refused_changes(before, deployment, paths))
    if refused:
        listed = [f"{change} needs {remedy}" for change, remedy in refused.items()]
        if len(listed) > _MAX_LISTED_CHANGES:
            listed[_MAX_LISTED_CHANGES:] = [f"and {len(listed) - _MAX_LISTED_CHANGES} more changes"]
        raise BadInput(
            "the root cannot take these changes of the configuration", where=str(paths.root),
            expected="the settings that its models were trained with", got="; ".join(listed),
            fix="Restore the settings, or begin with a new --root.",
        )  # fmt: skip


def accept_settings(deployment: Deployment, paths: RunPaths) -> list[str]:
    """Records the configuration in the root, after `require_settings`.

    Returns:
        One text for each changed setting, `key: before -> now`; empty at the first run.

    Raises:
        BadInput: see `require_settings`.
    """
    require_settings(deployment, paths)
    before = _read_recorded(paths)
    if before == deployment:
        return []
    paths.root.mkdir(parents=True, exist_ok=True)
    # On a Kubernetes cluster, the pipelines of several branches may write the file at the same time.
    partial = paths.deployment.with_suffix(f".{uuid.uuid4().hex}")
    partial.write_text(to_json(deployment))
    partial.replace(paths.deployment)
    return [] if before is None else _describe_changes(before, deployment)


def require_own_root(deployment: Deployment, paths: RunPaths) -> None:
    """Checks that a root belongs to the deployment, by its name.

    Raises:
        BadInput: if another deployment has run in the root, or the recorded configuration cannot be read.
    """
    before = _read_recorded(paths)
    if before is not None and before.name != deployment.name:
        raise BadInput(
            "the root of another deployment", where=str(paths.root), expected=f"name: {before.name}",
            got=f"name: {deployment.name}", fix="Give the configuration of this root, or another --root.",
        )  # fmt: skip


def _read_recorded(paths: RunPaths) -> Deployment | None:
    if not paths.deployment.is_file():
        return None
    try:
        return from_json(Deployment, paths.deployment.read_text())
    except (pydantic.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(
            "the root's configuration cannot be read", where=str(paths.deployment),
            expected="settings that this version of rankdistill knows", got=str(error).splitlines()[0],
            fix="Use the version that wrote the root, or remove the file to skip the comparison.",
        ) from error  # fmt: skip


def _refused_changes(before: Deployment, now: Deployment, paths: RunPaths) -> Iterator[tuple[str, str]]:
    """Yields each change that the models of the root do not allow, and its remedy."""
    if before.name != now.name:
        yield f"name {now.name!r} instead of {before.name!r}", _NEW_ROOT
    if recorded_spans(paths.records, BURN_IN):
        for change in _changed_features(before, now):
            yield change, _NEW_FEATURES
        for name, task in now.tasks.items():
            if name in before.tasks and before.tasks[name].delay != task.delay:
                yield f"another tasks.{name}.delay", _NEW_TEACHER
        if before.burn_in != now.burn_in:
            yield f"burn_in {now.burn_in} instead of {before.burn_in}", _NEW_TEACHER
        if _has_teacher(paths):
            yield from _refused_teacher_changes(before, now)
    for surface in now.surfaces:
        if surface in before.surfaces and _has_student(paths, surface):
            for setting in _changed_fixed_settings(before.student_job(surface), now.student_job(surface)):
                yield f"another {setting} of the student of {surface}", _new_student(surface)


def _changed_features(before: Deployment, now: Deployment) -> Iterator[str]:
    """Yields each used feature whose transformation has changed, or whose values: those of the history."""
    histories = [one.history.definitions() if one.history is not None else {} for one in (before, now)]
    for name, feature in now.features.items():
        if name not in _used_features(now):
            continue
        if before.features.get(name) != feature:
            yield f"another features.{name}"
        elif histories[0].get(name) != histories[1].get(name):
            yield f"another history of features.{name}"


def _refused_teacher_changes(before: Deployment, now: Deployment) -> Iterator[tuple[str, str]]:
    if before.teacher.name != now.teacher.name:
        yield f"teacher.name {now.teacher.name!r} instead of {before.teacher.name!r}", _NEW_TEACHER
    for setting in _changed_fixed_settings(before.teacher_job(), now.teacher_job()):
        yield f"another {setting} of the teacher", _NEW_TEACHER


def _used_features(deployment: Deployment) -> set[str]:
    jobs = [deployment.teacher_job(), *map(deployment.student_job, deployment.surfaces)]
    return {name for job in jobs for name in job.features}


def _changed_fixed_settings(before: Any, now: Any) -> list[str]:
    settings, new_settings = fixed_settings(before), fixed_settings(now)
    return [name for name in settings if settings[name] != new_settings[name]]


def _new_student(surface: str) -> str:
    return f"a new student (a new name of surfaces.{surface}, or a new root)"


def _has_teacher(paths: RunPaths) -> bool:
    """Whether a teacher was trained in the root; a root of students alone has only its transform graph."""
    last_span = recorded_spans(paths.records, BURN_IN)[-1]
    return TEACHER in read_record(paths.records, BURN_IN, last_span).slots


def _has_student(paths: RunPaths, surface: str) -> bool:
    return any(recorded_spans(paths.records, branch) for branch in (surface, surface_burn_in(surface)))


def _describe_changes(before: Deployment, now: Deployment) -> list[str]:
    old, new = (json.loads(to_json(deployment)) for deployment in (before, now))
    return list(_differences(old, new, ""))


def _differences(before: Any, now: Any, key: str) -> Iterator[str]:
    """A text for each changed setting below a key; a whole part, such as a surface, is one text."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before | now):
            below = f"{key}.{name}" if key else name
            yield from _differences(before.get(name, _NOTHING), now.get(name, _NOTHING), below)
    elif before != now:
        texts = [_format_value(value) for value in (before, now)]
        yield f"{key}: {' -> '.join(texts)}"


def _format_value(value: Any) -> str:
    if value is _NOTHING:
        return "none"
    return f"{len(value)} settings" if isinstance(value, dict) and value else json.dumps(value)
