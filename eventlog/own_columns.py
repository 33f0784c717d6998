"""Finds the columns of an event log in the log itself, for readers that have no schema and no deployment."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import pyarrow as pa

from eventlog.columns import LABEL_TYPE, LogColumns, canonical_schema, convert
from eventlog.errors import BadInput
from eventlog.parquet_files import open_file, read_table
from eventlog.rows import FIXED_COLUMNS, IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.spans import span_files, span_versions


def own_columns(log: Path) -> dict[int, LogColumns]:
    """The columns of each span of a log, with the delays of its labels.

    A column of an earlier span is expected in all later spans, with its first type. `check_span` then reports
    a span without the column or with another type.

    The delay of a task is the age of the rows that hold most of its labels: the largest such age if there are
    several, 0 without labels. Damaged files are left out: `check_span` reports them.

    Raises:
        BadInput: if the log does not exist, or a span has no part file. Also if the first file of a span
            carries code, lacks a fixed column, or has a column twice or of a type that a log cannot hold.
    """
    schemas: dict[int, pa.Schema] = {}
    for span in span_versions(log):
        with contextlib.suppress(pa.ArrowException, OSError, UnicodeDecodeError):
            file = span_files(log, span)[0]
            schema = open_file(file).schema_arrow
            # A column without any value has no type yet.
            typed = [field for field in schema if not pa.types.is_null(field.type)]
            schemas[span] = canonical_schema(pa.schema(typed), str(file))
    labels = {name for schema in schemas.values() for name in schema.names if name.startswith(LABEL_PREFIX)}
    ages = {label: Counter[int]() for label in sorted(labels)}
    for span in schemas:
        with contextlib.suppress(BadInput, pa.ArrowException, OSError, UnicodeDecodeError):
            for file in span_files(log, span):
                _count_ages(file, span, ages)
    delays = {
        label: max(counts, key=lambda age: (counts[age], age), default=0) for label, counts in ages.items()
    }
    columns: dict[int, LogColumns] = {}
    types: dict[str, pa.DataType] = {}
    for span in span_versions(log):
        types = {field.name: field.type for field in schemas.get(span, ())} | types
        columns[span] = LogColumns(
            {name.removeprefix(LABEL_PREFIX): delays[name] for name in types if name in delays},
            {name: types[name] for name in types if name not in delays and name not in FIXED_COLUMNS.names},
        )
    return columns


def _count_ages(file: Path, span: int, ages: dict[str, Counter[int]]) -> None:
    """Adds the number of labels of each age, for all columns in `ages`."""
    labels = [name for name in open_file(file).schema_arrow.names if name in ages]
    schema = pa.schema(
        [pa.field(IMPRESSION_SPAN, pa.int64()), *(pa.field(name, LABEL_TYPE) for name in labels)]
    )
    table = convert(read_table(file, columns=schema.names), schema)
    counts = table.group_by(IMPRESSION_SPAN).aggregate([(label, "count") for label in labels])
    for row in counts.to_pylist():
        for label in labels:
            # A null span is a fault that `check_span` reports.
            if row[f"{label}_count"] and row[IMPRESSION_SPAN] is not None:
                ages[label][span - row[IMPRESSION_SPAN]] += row[f"{label}_count"]
