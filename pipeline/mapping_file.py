"""Reads a mapping, the YAML file of `rankdistill events import`."""

from __future__ import annotations

from pathlib import Path

from eventlog.errors import BadInput
from eventlog.tables.mapping import TableMapping
from pipeline.settings_parser import parse_settings
from pipeline.yaml_file import read_mapping


def load_mapping(path: Path) -> TableMapping:
    """Reads a mapping.

    Raises:
        BadInput: if the file is missing, is not YAML, or has an unknown key or a wrong value.
    """
    if not path.is_file():
        raise BadInput(
            "no such mapping", where=str(path), expected="a YAML file", got="no file",
            fix="docs/guides/event-log.md has an example.",
        )  # fmt: skip
    fix = "docs/reference/mapping.md describes every key."
    return parse_settings(TableMapping, read_mapping(path), path, fix)
