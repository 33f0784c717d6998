"""Finds the columns of an event log in the log itself, for readers that have no schema and no deployment."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import pyarrow as pa

from eventlog.columns import LogColumns, canonical_schema
from eventlog.errors import BadInput
from eventlog.parquet_files import open_file, read_table
from eventlog.rows import FIXED_COLUMNS, IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.spans import span_files, span_versions


def own_columns(log: Path) -> LogColumns:
    """The columns of the newest span of a log, with the delays of its labels.

    The delay of a task is the age at which most of its labels occur, 0 if it has no label. Damaged files are
    left out: `check_span` reports them.

    Raises:
        BadInput: if the log has no span, or the newest span lacks a fixed column or has a type that cannot be
            converted.
    """
    spans = list(span_versions(log))
    if not spans:
        raise BadInput(
            "empty event log", where=str(log), expected="at least one complete span", got="none",
            fix="Write spans with `rankdistill events`.",
        )  # fmt: skip
    file = span_files(log, spans[-1])[0]
    schema = canonical_schema(_read_schema(file), str(file))
    labels = [name for name in schema.names if name.startswith(LABEL_PREFIX)]
    ages: dict[str, Counter[int]] = {label: Counter() for label in labels}
    for span in spans:
        with contextlib.suppress(BadInput, pa.ArrowException, OSError, UnicodeDecodeError, KeyError):
            for file in span_files(log, span):
                _count_ages(file, span, ages)
    delays = {
        label.removeprefix(LABEL_PREFIX): max(counts, key=lambda age: counts[age], default=0)
        for label, counts in ages.items()
    }
    others = {name for name in schema.names if name not in labels and name not in FIXED_COLUMNS.names}
    return LogColumns(delays, {name: schema.field(name).type for name in schema.names if name in others})


def _read_schema(file: Path) -> pa.Schema:
    try:
        return open_file(file).schema_arrow
    # UnicodeDecodeError: the name of a column is not UTF-8.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "unreadable file", where=str(file), expected="a complete Parquet file",
            got=str(error).splitlines()[0], fix="Repair the source and write the span again.",
        ) from error  # fmt: skip


def _count_ages(file: Path, span: int, ages: dict[str, Counter[int]]) -> None:
    """Adds the number of labels of each age, for all columns in `ages`."""
    table = read_table(file, columns=[IMPRESSION_SPAN, *ages])
    counts = table.group_by(IMPRESSION_SPAN).aggregate([(label, "count") for label in ages])
    for row in counts.to_pylist():
        for label, counter in ages.items():
            if row[f"{label}_count"]:
                counter[span - row[IMPRESSION_SPAN]] += row[f"{label}_count"]
