"""The file `_import.json` of an event log: the settings of its import, which later imports must keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eventlog.errors import BadInput
from eventlog.tables.expressions import Expressions
from eventlog.tables.mapping import TableMapping

RECORD_FILE = "_import.json"
_COLUMNS = ("labels", "features")


def recorded_settings(mapping: TableMapping, expressions: Expressions) -> dict[str, Any]:
    """The parts of a mapping that later imports must keep.

    Expressions do not depend on spaces or comments.
    """

    def canonical(text: str | None) -> str | None:
        return None if text is None else expressions.canonical(text)

    time, spans = mapping.time, mapping.spans
    return {
        "time": [canonical(time.value), time.unit, time.zone, time.format],
        "spans": [spans.by, spans.zone, canonical(spans.value), spans.count],
        "example_id": None if mapping.example_id is None else list(mapping.example_id),
        "surface": canonical(mapping.surface),
        "cluster": canonical(mapping.cluster),
        "where": canonical(mapping.where),
        "duplicates": mapping.duplicates,
        "labels": {
            task: [
                canonical(label.value),
                label.age,
                None if label.over is None else canonical(label.over.per),
            ]
            for task, label in mapping.labels.items()
        },
        "features": {
            name: [canonical(feature.value), feature.type] for name, feature in mapping.features.items()
        },
    }


def read_record(log: Path) -> dict[str, Any] | None:
    """The record of a log; None for a folder without one.

    Raises:
        BadInput: if the file cannot be read.
    """
    path = log / RECORD_FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        first_period, parts = record["first_period"], record["meaning"]
        if not (first_period is None or isinstance(first_period, int)) or not isinstance(parts, dict):
            raise TypeError("first_period or meaning")
        for part in _COLUMNS:
            dict(parts[part])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            "not an imported log", where=str(path), expected="the record of an import",
            got=f"{type(error).__name__} {error}", fix="Restore the file, or import into another folder.",
        ) from error  # fmt: skip
    return dict(record)


def write_record(log: Path, first_period: int | None, parts: Mapping[str, Any]) -> None:
    """Replaces the record of a log in one step."""
    partial = log / f"{RECORD_FILE}.partial"
    partial.write_text(json.dumps({"first_period": first_period, "meaning": parts}) + "\n", encoding="utf-8")
    partial.replace(log / RECORD_FILE)


def require_same_settings(written: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    """Checks that a mapping has the recorded settings of the log. New labels and features are allowed.

    Raises:
        BadInput: if a recorded setting is changed or removed.
    """
    changed = [part for part in given if part not in _COLUMNS and written.get(part) != given[part]]
    for part in _COLUMNS:
        changed += [
            f"{part}.{name}" for name, value in written[part].items() if given[part].get(name) != value
        ]
    if changed:
        raise BadInput(
            "the mapping has changed", where=where,
            expected="the mapping of the written spans, or new columns",
            got=f"a change of {', '.join(changed)}", fix="Restore these keys, or import into another folder.",
        )  # fmt: skip
