"""Checks a span of the event log for faults, before any later step reads the span."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlog.columns import LogColumns, convert, is_convertible, require_distinct
from eventlog.errors import BadInput, Mismatch, require_no_mismatch
from eventlog.parquet_files import open_file
from eventlog.rows import (
    END_EVENT_MS,
    EVENT_TIME_MS,
    EXAMPLE_ID,
    FIRST_EVENT_MS,
    FIXED_COLUMNS,
    IMPRESSION_SPAN,
    LABEL_PREFIX,
)
from eventlog.spans import span_files

_WRITE_AGAIN = "Repair the source and write the span again."


class EmptySpan(BadInput):
    """Raised for a span without fresh rows. Its rows may be correct, but no model can train on the span."""


@dataclass(frozen=True)
class SpanCounts:
    """Numbers of rows in a checked span. The age of a row is this span minus the row's `impression_span`.

    Attributes:
        fresh: fresh rows.
        matured: matured rows whose age is the delay of a task.
        unused: matured rows of other ages, without a label of any task.
    """

    fresh: int
    matured: int
    unused: int = 0

    @property
    def total(self) -> int:
        """Number of all rows."""
        return self.fresh + self.matured + self.unused


@dataclass
class _RowKind:
    """Counts of the rows of one age, over all row groups read so far.

    Attributes:
        age: the span that holds the rows minus their `impression_span`; 0 for fresh rows.
        tasks: the tasks whose labels come in these rows.
        num_rows: number of rows.
        ids: the example ids of each row group.
        num_labels: number of labels by task.
    """

    age: int
    tasks: tuple[str, ...]
    num_rows: int = 0
    ids: list[pa.ChunkedArray] = field(default_factory=list)
    num_labels: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The name of these rows in messages."""
        return f"rows matured after {self.age} spans" if self.age else "fresh rows"


def check_span(log: Path, span: int, columns: LogColumns, version: int | None = None) -> SpanCounts:
    """Reads a span once, one row group at a time, and raises at the first fault.

    Args:
        log: the log's folder.
        span: the number of a complete span.
        columns: the columns to check; all other columns of the files are ignored.
        version: the span version; None for the newest complete version.

    Returns:
        The numbers of rows.

    Raises:
        EmptySpan: if the span has no fresh row.
        BadInput: if the span is missing; a file is unreadable or carries code; a column is missing, occurs
            twice, or has a type or value that cannot be converted; `impression_span` is a later span; a
            fixed column has a null or an empty text; a text is not UTF-8; a list has a null item; an event
            time is not in the years 1990 to 2099; a number is NaN or infinite; a task has labels in rows of
            another age than its delay, or the rows of this age have none; an example id occurs in two rows
            of the same age.
    """
    kinds = _row_kinds(columns)
    files = span_files(log, span, version)
    num_rows = 0
    for file in files:
        try:
            parquet = open_file(file)
            _check_columns(parquet.schema_arrow, file, columns)
            names = [name for name in columns.schema.names if name in parquet.schema_arrow.names]
            first_row = 0
            for index in range(parquet.num_row_groups):
                rows = parquet.read_row_group(index, columns=names)
                group = _RowGroup(file, first_row, _converted(rows, columns, file))
                _check_values(group)
                _count_rows(group, span, columns, kinds)
                first_row += rows.num_rows
            num_rows += first_row
        # UnicodeDecodeError: the name of a column is not UTF-8.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            got = str(error).splitlines()[0]
            raise _fault("unreadable file", file, expected="a complete Parquet file", got=got) from error
    _check_totals(files[0].parent, kinds, num_rows)
    matured = sum(kind.num_rows for kind in kinds if kind.age)
    return SpanCounts(kinds[0].num_rows, matured, num_rows - kinds[0].num_rows - matured)


def check_tables(
    tables: Iterable[pa.Table], span: int, columns: LogColumns, where: Path, *, has_unique_ids: bool = False
) -> Iterator[pa.Table]:
    """Checks the rows of a span before they are written, as `check_span` does afterwards.

    Args:
        tables: the rows, with the columns in `columns`.
        span: the number of the span.
        columns: the columns to check.
        where: the folder of the span, for error messages.
        has_unique_ids: leaves out the check of the ids, which takes most of the time.

    Yields:
        Each table, converted to the log's types. The last checks follow after the last table.

    Raises:
        BadInput: see `check_span`.
    """
    kinds, num_rows = _row_kinds(columns), 0
    for table in tables:
        group = _RowGroup(where, num_rows, _converted(table, columns, where))
        _check_values(group)
        _count_rows(group, span, columns, kinds)
        num_rows += table.num_rows
        yield group.table
    _check_totals(where, kinds, num_rows, has_unique_ids=has_unique_ids)


def require_labels(
    num_labels: Mapping[str, int], delays: Mapping[str, int], where: str, surface: str | None = None
) -> None:
    """Checks that each task has a label to train on.

    Args:
        num_labels: number of labels by task.
        delays: delay by task, see `LogColumns`.
        where: the log and its spans, for the message.
        surface: the surface of the counted rows; None for all surfaces.

    Raises:
        BadInput: if a task has no label; the message names the first such task.
    """
    for task, count in num_labels.items():
        if not count:
            raise no_label_error(task, delays[task], where, surface)


def no_label_error(task: str, delay: int, where: str, surface: str | None = None) -> BadInput:
    """The error for a task without a label; the arguments are those of `require_labels`."""
    later = f", choose a longer burn_in (this label comes {delay} spans later)"
    return BadInput(
        f"no label of task {task}" + (f" on {surface}" if surface else ""), where=where, got="none",
        expected=f"values in column {LABEL_PREFIX + task}",
        fix=f"Write the labels{later if delay else ''}, or remove the task.",
    )  # fmt: skip


def _row_kinds(columns: LogColumns) -> list[_RowKind]:
    return [_RowKind(age, columns.tasks_at(age)) for age in columns.ages]


def _fault(what: str, where: Path | str, *, expected: str, got: str, fix: str = _WRITE_AGAIN) -> BadInput:
    return BadInput(what, where=str(where), expected=expected, got=got, fix=fix)


def _check_columns(schema: pa.Schema, file: Path, columns: LogColumns) -> None:
    require_distinct(schema, str(file))
    mismatches = []
    for column in columns.schema:
        name, expected = column.name, str(column.type)
        if name in schema.names:
            got = schema.field(name).type
            if not is_convertible(got, column.type):
                mismatches.append(Mismatch(f"wrong type of column {name}", expected, str(got), _WRITE_AGAIN))
        elif name not in columns.optional:
            close_names = difflib.get_close_matches(name, schema.names, n=1)
            fix = f"Did you mean {close_names[0]!r}?" if close_names else _WRITE_AGAIN
            expected = f"{name} of type {expected}"
            mismatches.append(Mismatch(f"missing column {name}", expected, "no such column", fix))
    require_no_mismatch(mismatches, str(file))


def _converted(rows: pa.Table, columns: LogColumns, file: Path) -> pa.Table:
    try:
        return convert(rows, columns.schema)
    except pa.ArrowInvalid as error:
        raise _fault(
            "a value that does not fit the type of its column", file, expected="values of the schema's types",
            got=str(error).splitlines()[0],
        ) from error  # fmt: skip


@dataclass(frozen=True)
class _RowGroup:
    """A row group of a file; `first_row` is the number of the file's rows before this group."""

    file: Path
    first_row: int
    table: pa.Table

    def locate(self, mask: Any) -> str:
        """The file and the number, from 0, of its first row where `mask` (`[rows]` bool) is True."""
        return f"{self.file}, row {self.first_row + pc.index(mask, True).as_py()}"


def _check_values(group: _RowGroup) -> None:
    for name in FIXED_COLUMNS.names:
        column = group.table[name]
        if column.null_count:
            where = group.locate(pc.is_null(column))
            raise _fault(f"null in column {name}", where, expected="a value in every row", got="null")
        if pa.types.is_string(column.type) and _any_true(is_empty := pc.equal(column, "")):
            where = group.locate(is_empty)
            raise _fault(f"empty text in column {name}", where, expected="a value in every row", got="''")
    _check_times(group)
    for name in group.table.column_names:
        _check_text(group, name)
        if pa.types.is_floating(group.table.schema.field(name).type):
            is_finite = pc.is_finite(group.table[name])
            if _any_true(pc.invert(is_finite)):
                raise _fault(
                    f"NaN or infinity in column {name}", group.locate(pc.invert(is_finite)),
                    expected="finite numbers, and null for a missing one", got="a value that is not finite",
                )  # fmt: skip


def _check_times(group: _RowGroup) -> None:
    times = group.table[EVENT_TIME_MS]
    is_outside = pc.or_(pc.less(times, FIRST_EVENT_MS), pc.greater_equal(times, END_EVENT_MS))
    if _any_true(is_outside):
        raise _fault(
            f"column {EVENT_TIME_MS} is not in milliseconds", group.locate(is_outside),
            expected="milliseconds since 1970, of a time between 1990 and 2100",
            got=str(pc.filter(times, is_outside)[0].as_py()),
            fix="Convert the source's unit, and write the span again.",
        )  # fmt: skip


def _check_text(group: _RowGroup, name: str) -> None:
    values = column = group.table[name]
    if pa.types.is_list(column.type):
        values = pc.list_flatten(column)
        if values.null_count:
            where = group.locate(_lists_with(column, pc.is_null(values)))
            raise _fault(f"null inside a list of column {name}", where, expected="no null", got="null")
    if pa.types.is_string(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raw = values.cast(pa.binary()).to_pylist()
            is_broken = pa.array([value is not None and not _is_utf8(value) for value in raw])
            got = repr(raw[pc.index(is_broken, True).as_py()])[:80]
            where = group.locate(is_broken if values is column else _lists_with(column, is_broken))
            raise _fault(f"column {name} is not UTF-8", where, expected="UTF-8", got=got) from None


def _lists_with(lists: Any, is_item: Any) -> Any:
    """`[lists]` bool: True for a list with at least one item where `is_item` (`[items]` bool) is True."""
    rows = pc.unique(pc.list_parent_indices(lists).filter(is_item))
    return pc.is_in(pa.array(range(len(lists))), value_set=rows.cast(pa.int64()))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _count_rows(group: _RowGroup, span: int, columns: LogColumns, kinds: list[_RowKind]) -> None:
    ages = pc.subtract(span, group.table[IMPRESSION_SPAN])
    is_later = pc.less(ages, 0)
    if _any_true(is_later):
        raise _fault(
            f"column {IMPRESSION_SPAN} names a later span", group.locate(is_later),
            expected=f"{span} (fresh), or an earlier span (matured)",
            got=str(pc.filter(group.table[IMPRESSION_SPAN], is_later)[0].as_py()),
        )  # fmt: skip
    for task, delay in columns.delays.items():
        labels = group.table[LABEL_PREFIX + task]
        is_foreign = pc.and_(pc.not_equal(ages, delay), pc.is_valid(labels))
        if _any_true(is_foreign):
            age = pc.filter(ages, is_foreign)[0].as_py()
            raise _fault(
                f"column {LABEL_PREFIX + task} has labels in {_RowKind(age, ()).name}",
                group.locate(is_foreign), expected=f"labels of {task} only in {_RowKind(delay, ()).name}",
                got=str(pc.filter(labels, is_foreign)[0].as_py()),
                fix=f"Correct the rows, or the delay of the task (tasks.{task}.delay).",
            )  # fmt: skip
    for kind in kinds:
        rows = group.table.filter(pc.equal(ages, kind.age))
        for task in kind.tasks:
            kind.num_labels[task] += rows.num_rows - rows[LABEL_PREFIX + task].null_count
        kind.num_rows += rows.num_rows
        kind.ids.append(rows[EXAMPLE_ID])


def _check_totals(
    folder: Path, kinds: list[_RowKind], num_rows: int, *, has_unique_ids: bool = False
) -> None:
    if not kinds[0].num_rows:
        raise EmptySpan(
            "empty span", where=str(folder), expected="at least one fresh row",
            got=f"none ({num_rows} matured rows)", fix=_WRITE_AGAIN,
        )  # fmt: skip
    for kind in kinds:
        for task in kind.tasks:
            if kind.num_rows and not kind.num_labels[task]:
                raise _fault(
                    f"column {LABEL_PREFIX + task} is null in all {kind.name}", folder,
                    expected=f"labels of {task}", got=f"none in {kind.num_rows} rows",
                    fix="Repair the source, or remove the task from the log and the configuration.",
                )  # fmt: skip
        if not has_unique_ids:
            _check_unique(folder, kind)


def _check_unique(folder: Path, kind: _RowKind) -> None:
    ids = pa.chunked_array([chunk for column in kind.ids for chunk in column.chunks], type=pa.string())
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    raise _fault(
        f"duplicate {EXAMPLE_ID} in {kind.name}", folder, expected="every id once",
        got=f"{len(repeated)} repeated ids, such as {repeated.field('values')[0].as_py()!r}",
        fix="Drop the duplicates in the source and write the span again.",
    )  # fmt: skip


def _any_true(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())
