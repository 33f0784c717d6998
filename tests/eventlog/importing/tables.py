"""Small tables and mappings for the tests of the import."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventlog.importing.importer import import_table
from eventlog.spans import span_files
from eventlog.tables.mapping import (
    FeatureSettings,
    FileSettings,
    LabelSettings,
    SpanSettings,
    TableMapping,
    TimeSettings,
)

MIDNIGHT = 1_709_251_200
"""2024-03-01 00:00 in UTC, a Friday, in seconds."""
DAY = 86_400
COLUMNS = {"user": "text", "item": "text", "rating": "integer", "seconds": "integer"}


def line(user: Any, item: Any, rating: Any, day: float) -> str:
    """A line of a table like MovieLens' `u.data`."""
    return f"{user}\t{item}\t{rating}\t{MIDNIGHT + int(day * DAY)}"


def write_lines(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def mapping(**changes: Any) -> TableMapping:
    """A mapping for the lines of `line`."""
    settings: dict[str, Any] = {
        "source": FileSettings(delimiter="\t", header=False, columns=COLUMNS),
        "time": TimeSettings(value="seconds", unit="s"),
        "spans": SpanSettings(by="day"),
        "surface": "'list'",
        "cluster": "user",
        "example_id": ("user", "item", "seconds"),
        "labels": {"liked": LabelSettings(value="rating >= 4")},
        "features": {"item": FeatureSettings(value="item", type="text")},
    }
    return TableMapping(**(settings | changes))


def run(settings: TableMapping, source: Path, log: Path, on_span: Any = None) -> tuple[list[int], list[str]]:
    """Imports a table; returns the numbers of the written spans and the lines of the report."""
    lines: list[str] = []
    spans = import_table(
        settings, "mapping.yaml", source, log, on_span, lambda report: lines.extend(report.lines())
    )
    return list(spans), lines


def read(log: Path, span: int) -> list[dict[str, Any]]:
    tables = (pq.read_table(file, partitioning=None) for file in span_files(log, span))
    return pa.concat_tables(tables).to_pylist()


def column(log: Path, span: int, name: str) -> list[Any]:
    return [row[name] for row in read(log, span)]


def milliseconds(text: str) -> int:
    """ISO time with an offset as milliseconds since 1970."""
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)
