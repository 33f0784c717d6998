"""Reads a deployment's YAML file, and the files that it extends, into a `Deployment`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from components.event_schema import check_columns, check_history, read_schema, with_history
from eventlog.errors import BadInput
from eventlog.shipped_schema import shipped_names, shipped_schema
from pipeline.config import Deployment
from pipeline.yaml_file import read_mapping

_EXTENDS = "extends"
_SHIPPED_PREFIX = "shipped:"
_UNKNOWN_KEY = "unexpected_keyword_argument"


def load_deployment(path: Path) -> Deployment:
    """Reads a deployment's YAML file.

    Raises:
        BadInput: if the file is missing, is not YAML, or has an unknown key or a wrong value; or if a
            feature or task does not fit the schema. The message names one fault, an unknown key first.
    """
    document = read_document(path)
    try:
        deployment = pydantic.TypeAdapter(Deployment).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        faults = error.errors()
        # A misspelt key often causes a second fault: the correct key is missing. Only the first is useful.
        unknown = (fault for fault in faults if fault["type"] == _UNKNOWN_KEY)
        raise _as_bad_input(path, next(unknown, faults[0])) from error
    schema = _schema_file(path, deployment.schema)
    columns = read_schema(schema)
    if deployment.history is not None:
        check_history(columns, schema, deployment.history)
    check_columns(with_history(columns, deployment.history), schema, deployment.features, deployment.tasks)
    return dataclasses.replace(deployment, schema=str(schema))


def read_document(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping and merges it over the file that its key `extends` names, if any.

    Mappings are merged key by key; any other value replaces the value of the extended file.

    Raises:
        BadInput: if a file is missing, is not a YAML mapping, or extends itself.
    """
    return _read(path, str(path), ())


def _read(path: Path, where: str, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    if not _is_file(path):
        raise BadInput(
            "no such configuration", where=where, expected="a YAML file",
            got=f"no file {str(path)[:200]!r}",
            fix="pipeline/configs/ has examples.",
        )  # fmt: skip
    if path.resolve() in extended_by:
        raise BadInput(
            "a file extends itself", where=f"{path}: {_EXTENDS}", expected="another file",
            got=" <- ".join(str(file) for file in extended_by), fix="Remove one `extends`.",
        )  # fmt: skip
    document = read_mapping(path)
    if _EXTENDS not in document:
        return document
    base = document.pop(_EXTENDS)
    if not isinstance(base, str):
        raise BadInput(
            "wrong value", where=f"{path}: {_EXTENDS}", expected="the path of a configuration file",
            got=repr(base), fix="Give one path, relative to this file.",
        )  # fmt: skip
    base_file = path.parent / base
    base_document = _read(base_file, f"{path}: {_EXTENDS}", (*extended_by, path.resolve()))
    schema = base_document.get("schema")
    if isinstance(schema, str) and not schema.startswith(_SHIPPED_PREFIX):
        # A path is relative to the file in which it is written.
        base_document["schema"] = str(base_file.parent / schema)
    return _merge(base_document, document)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # The file system does not allow this name.
        return False


def _merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        both_mappings = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_mappings else value
    return merged


def _schema_file(path: Path, schema: str) -> Path:
    if schema.startswith(_SHIPPED_PREFIX):
        name, names = schema.removeprefix(_SHIPPED_PREFIX), shipped_names(".pbtxt")
        if name not in names:
            raise BadInput(
                "no such schema", where=f"{path}: schema", got=repr(schema),
                expected=f"{_SHIPPED_PREFIX} and one of {', '.join(names)}",
                fix="Correct the name, or give the path of a file.",
            )  # fmt: skip
        return shipped_schema(name)
    file = path.parent / schema
    if not _is_file(file):
        raise BadInput(
            "no such schema", where=f"{path}: schema", expected="a TFMD schema in text format",
            got=schema, fix="Give its path relative to the configuration file, or shipped:impressions.pbtxt.",
        )  # fmt: skip
    return file.resolve()


def _as_bad_input(path: Path, fault: Mapping[str, Any]) -> BadInput:
    location = fault["loc"]
    where = f"{path}: {'.'.join(str(part) for part in location) or 'the file'}"
    if fault["type"] == _UNKNOWN_KEY:
        keys = _keys_at(location[:-1])
        close_keys = difflib.get_close_matches(str(location[-1]), keys, n=1)
        fix = f"Did you mean {close_keys[0]!r}?" if close_keys else f"Known keys here: {', '.join(keys)}."
        return BadInput("unknown key", where=where, expected="a known key", got=repr(location[-1]), fix=fix)
    if fault["type"] == "value_error":
        reason = str(fault["ctx"]["error"]).rstrip(".")
        return BadInput(
            "wrong value", where=where, expected="valid settings", got=reason, fix="Correct the file."
        )
    if fault["type"] == "missing":
        expected, got = "a value", "nothing"
    else:
        expected, got = str(fault["msg"]).removeprefix("Input should be "), repr(fault["input"])
    return BadInput(
        "wrong value", where=where, expected=expected, got=got,
        fix="pipeline/configs/ has examples, docs/reference/configuration.md every key.",
    )  # fmt: skip


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The valid keys at a location in the YAML. Follows the types of the settings on the location's path."""
    current: Any = Deployment
    for part in location:
        if dataclasses.is_dataclass(current):
            current = typing.get_type_hints(current).get(str(part))
        else:
            current = (typing.get_args(current) or (None,))[-1]
        members = [member for member in typing.get_args(current) if dataclasses.is_dataclass(member)]
        if members and typing.get_origin(current) is not dict:
            current = members[0]
    return [field.name for field in dataclasses.fields(current)] if dataclasses.is_dataclass(current) else []
