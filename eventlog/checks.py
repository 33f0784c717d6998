"""Checks a span of the event log for faults before any later step reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.rows import (
    DELAYED_TASKS,
    EVENT_TIME_MS,
    EXAMPLE_ID,
    FIXED_COLUMNS,
    IMMEDIATE_TASKS,
    IMPRESSION_SPAN,
    LABEL_PREFIX,
    LOG_SCHEMA,
    MATURITY_SPANS,
)
from eventlog.spans import span_files

_WRITE_AGAIN = "Repair the source and write the span again."
_FIRST_MS, _END_MS = 946_684_800_000, 4_102_444_800_000
"""Range of event times, from 2000 to 2100. Seconds, micro- and nanoseconds lie outside of it."""


class EmptySpan(BadInput):
    """A span without fresh rows: its data may be correct, but no model can train on it."""


@dataclass(frozen=True)
class SpanCounts:
    """Rows of a checked span: `fresh` are the span's own impressions, `matured` those of an earlier span."""

    fresh: int
    matured: int


@dataclass
class _RowKind:
    """Counts of the fresh or of the matured rows, over all row groups read so far.

    `tasks` have labels in these rows; labels of `foreign_tasks` must be null.
    """

    name: str
    tasks: tuple[str, ...]
    foreign_tasks: tuple[str, ...]
    num_rows: int = 0
    ids: list[pa.ChunkedArray] = field(default_factory=list)
    num_labels: Counter[str] = field(default_factory=Counter)


def check_span(log: Path, span: int, version: int | None = None) -> SpanCounts:
    """Reads a span once, one row group at a time, and raises at the first fault.

    Args:
        log: the log's folder.
        span: the number of a complete span.
        version: the span version; None for the newest one.

    Returns:
        The number of fresh and of matured rows.

    Raises:
        BadInput: if a file is unreadable; a column is missing, there twice, or of another type; there is no
            fresh row (`EmptySpan`); a row is neither fresh nor matured; a fixed column has a null or an empty
            text; text is not UTF-8; a list has a null item; a time is no millisecond between 2000 and 2100; a
            number is NaN or infinite; a fresh row has a delayed label or a matured row an immediate one; a
            task has no label at all; an example id repeats.
    """
    fresh = _RowKind("fresh", tasks=IMMEDIATE_TASKS, foreign_tasks=DELAYED_TASKS)
    matured = _RowKind("matured", tasks=DELAYED_TASKS, foreign_tasks=IMMEDIATE_TASKS)
    files = span_files(log, span, version)
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            _check_columns(parquet.schema_arrow, file)
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=LOG_SCHEMA.names)
                _check_values(table, file)
                _count_rows(table, span, file, fresh, matured)
        # UnicodeDecodeError: the name of a column is not UTF-8.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            got = str(error).splitlines()[0]
            raise _fault("unreadable file", file, expected="a complete Parquet file", got=got) from error
    _check_totals(files[0].parent, fresh, matured)
    return SpanCounts(fresh=fresh.num_rows, matured=matured.num_rows)


def _fault(what: str, where: Path, *, expected: str, got: str, fix: str = _WRITE_AGAIN) -> BadInput:
    return BadInput(what, where=str(where), expected=expected, got=got, fix=fix)


def _check_columns(schema: pa.Schema, file: Path) -> None:
    # Also of columns that the log does not have: Arrow's dataset reader refuses a file with a column twice.
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise _fault(f"column {name} twice", file, expected="every column once", got=f"{count} of them")
    for column in LOG_SCHEMA:
        name, expected_type = column.name, column.type
        if name not in schema.names:
            expected = f"{name} of type {expected_type}"
            raise _fault(f"missing column {name}", file, expected=expected, got="no such column")
        file_type = schema.field(name).type
        if not _same_type(file_type, expected_type):
            expected = str(expected_type)
            raise _fault(f"wrong type of column {name}", file, expected=expected, got=str(file_type))


def _same_type(first: pa.DataType, second: pa.DataType) -> bool:
    # Parquet writers give different names to a list's items; the name has no meaning.
    if pa.types.is_list(first) and pa.types.is_list(second):
        return bool(first.value_type.equals(second.value_type))
    return bool(first.equals(second))


def _check_values(table: pa.Table, file: Path) -> None:
    for name in FIXED_COLUMNS.names:
        if num_nulls := table[name].null_count:
            got = f"{num_nulls} nulls"
            raise _fault(f"null in column {name}", file, expected="a value in every row", got=got)
        if pa.types.is_string(table[name].type) and _any(pc.equal(table[name], "")):
            raise _fault(f"empty text in column {name}", file, expected="a value in every row", got="''")
    _check_times(table[EVENT_TIME_MS], file)
    for column in LOG_SCHEMA:
        _check_text(table[column.name], column.name, file)
        if pa.types.is_floating(column.type) and _any(pc.invert(pc.is_finite(table[column.name]))):
            raise _fault(
                f"NaN or infinity in column {column.name}", file,
                expected="finite numbers, and null for a missing one", got="a value that is not finite",
            )  # fmt: skip


def _check_times(times: pa.ChunkedArray, file: Path) -> None:
    bounds = pc.min_max(times)
    for time in (bounds["min"].as_py(), bounds["max"].as_py()):
        if time is not None and not _FIRST_MS <= time < _END_MS:
            raise _fault(
                f"column {EVENT_TIME_MS} is not in milliseconds", file,
                expected="milliseconds since 1970, of a time between 2000 and 2100", got=str(time),
                fix="Convert the source's unit, and write the span again.",
            )  # fmt: skip


def _check_text(column: pa.ChunkedArray, name: str, file: Path) -> None:
    values = column
    if pa.types.is_list(column.type):
        values = pc.list_flatten(column)
        if num_nulls := values.null_count:
            got = f"{num_nulls} nulls"
            raise _fault(f"null inside a list of column {name}", file, expected="lists of values", got=got)
    if pa.types.is_string(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            got = str(error).splitlines()[0]
            raise _fault(f"column {name} is not UTF-8", file, expected="text in UTF-8", got=got) from error


def _count_rows(table: pa.Table, span: int, file: Path, fresh: _RowKind, matured: _RowKind) -> None:
    impression_span = table[IMPRESSION_SPAN]
    is_fresh = pc.equal(impression_span, span)
    is_matured = pc.equal(impression_span, span - MATURITY_SPANS)
    is_neither = pc.invert(pc.or_(is_fresh, is_matured))
    if _any(is_neither):
        raise _fault(
            f"column {IMPRESSION_SPAN} has a row that is neither fresh nor matured", file,
            expected=f"{span} (fresh) or {span - MATURITY_SPANS} (matured)",
            got=str(pc.filter(impression_span, is_neither)[0].as_py()),
        )  # fmt: skip
    _count_kind(table.filter(is_fresh), file, fresh)
    _count_kind(table.filter(is_matured), file, matured)


def _count_kind(rows: pa.Table, file: Path, kind: _RowKind) -> None:
    for task in kind.foreign_tasks:
        if num_labels := rows.num_rows - rows[LABEL_PREFIX + task].null_count:
            raise _fault(
                f"column {LABEL_PREFIX + task} has labels in {kind.name} rows", file,
                expected=f"null, since a {kind.name} row must not carry this task's label",
                got=f"{num_labels} labels",
                fix="Write delayed labels only to matured rows, and all other labels only to fresh rows.",
            )  # fmt: skip
    for task in kind.tasks:
        kind.num_labels[task] += rows.num_rows - rows[LABEL_PREFIX + task].null_count
    kind.num_rows += rows.num_rows
    kind.ids.append(rows[EXAMPLE_ID])


def _check_totals(folder: Path, fresh: _RowKind, matured: _RowKind) -> None:
    if not fresh.num_rows:
        raise EmptySpan(
            "empty span", where=str(folder), expected="at least one fresh row",
            got=f"none ({matured.num_rows} matured rows)", fix=_WRITE_AGAIN,
        )  # fmt: skip
    for kind in (fresh, matured):
        for task in kind.tasks:
            if kind.num_rows and not kind.num_labels[task]:
                raise _fault(
                    f"column {LABEL_PREFIX + task} is null in all {kind.name} rows", folder,
                    expected=f"labels of {task}", got=f"none in {kind.num_rows} rows",
                    fix="Repair the source, or remove the task from the log and the configuration.",
                )  # fmt: skip
        _check_unique(folder, kind)


def _check_unique(folder: Path, kind: _RowKind) -> None:
    ids = pa.chunked_array([chunk for column in kind.ids for chunk in column.chunks], type=pa.string())
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    raise _fault(
        f"duplicate {EXAMPLE_ID} in {kind.name} rows", folder, expected="every id once",
        got=f"{len(repeated)} repeated ids, such as {repeated.field('values')[0].as_py()!r}",
        fix="Drop the duplicates in the source and write the span again.",
    )  # fmt: skip


def _any(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())
