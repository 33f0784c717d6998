"""Reads a deployment's YAML file, and the files that it extends, into a `Deployment`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.event_schema import check_columns, check_history, domain_of, read_schema, with_history
from eventlog.errors import BadInput
from eventlog.shipped_schema import shipped_names, shipped_schema
from pipeline.config import Deployment
from pipeline.settings_parser import parse_settings
from pipeline.yaml_file import read_mapping

_EXTENDS = "extends"
_SHIPPED_PREFIX = "shipped:"
_REFERENCE = "pipeline/configs/ has examples, docs/reference/configuration.md every key."


def load_deployment(path: Path) -> Deployment:
    """Reads a deployment's YAML file.

    Raises:
        BadInput: if the file is missing, is not YAML, or has an unknown key or a wrong value; or if
            features, tasks or history do not fit the schema. The message names one fault; an unknown key
            comes first.
    """
    document = read_document(path)
    _add_vocabularies(document, path)
    deployment = parse_settings(Deployment, document, path, _REFERENCE)
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


def _add_vocabularies(document: dict[str, Any], path: Path) -> None:
    """Gives each `id` and `bag` without buckets the values that the schema lists for its column."""
    features, schema = document.get("features"), document.get("schema")
    if not isinstance(features, dict) or not isinstance(schema, str):
        return
    names = [
        name
        for name, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("kind") in ("id", "bag")
        and not feature.keys() & {"buckets", "vocabulary"}
    ]
    if not names:
        return
    file = _schema_file(path, schema)
    for name in names:
        values = domain_of(read_schema(file), name)
        if not values:
            raise BadInput(
                "neither buckets nor a vocabulary", where=f"{path}: features.{name}",
                expected=f"buckets, a vocabulary, or a string_domain of column {name} in {file.name}",
                got="none of them", fix="Give buckets: the column's number of values, or more.",
            )  # fmt: skip
        features[name] = {**features[name], "vocabulary": list(values)}


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
