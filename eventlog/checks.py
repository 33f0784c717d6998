"""Checks a span of the event log for faults, before any later step reads the span."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlog.errors import BadInput
from eventlog.parquet_files import open_file
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
"""Event times must be in [2000, 2100). Times in seconds, micro- or nanoseconds lie outside this range."""


class EmptySpan(BadInput):
    """Raised for a span without fresh rows. Its rows may be correct, but no model can train on the span."""


@dataclass(frozen=True)
class SpanCounts:
    """Numbers of fresh and of matured rows in a checked span."""

    fresh: int
    matured: int


@dataclass
class _RowKind:
    """Counts of the fresh or of the matured rows, over all row groups read so far.

    Attributes:
        name: "fresh" or "matured".
        tasks: the tasks that have labels in these rows.
        foreign_tasks: the tasks whose labels must be null in these rows.
        num_rows: number of rows.
        ids: the example ids of each row group.
        num_labels: number of labels by task.
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
        version: the span version; None for the newest complete version.

    Returns:
        The number of fresh and of matured rows.

    Raises:
        EmptySpan: if the span has no fresh row.
        BadInput: if a file is unreadable; a column is missing, occurs twice or has another type; a row is
            neither fresh nor matured; a fixed column has a null or an empty text; a text is not UTF-8; a
            list has a null item; a time in milliseconds is not between 2000 and 2100; a number is NaN or
            infinite; a fresh row has a delayed label; a matured row has an immediate label; a task has no
            label in any of its rows; an example id occurs in two rows of the same kind.
    """
    fresh = _RowKind("fresh", tasks=IMMEDIATE_TASKS, foreign_tasks=DELAYED_TASKS)
    matured = _RowKind("matured", tasks=DELAYED_TASKS, foreign_tasks=IMMEDIATE_TASKS)
    files = span_files(log, span, version)
    for file in files:
        try:
            parquet = open_file(file)
            _check_columns(parquet.schema_arrow, file)
            first_row = 0
            for index in range(parquet.num_row_groups):
                table = parquet.read_row_group(index, columns=LOG_SCHEMA.names)
                group = _RowGroup(file, first_row, table)
                _check_values(group)
                _count_rows(group, span, fresh, matured)
                first_row += table.num_rows
        # UnicodeDecodeError: the name of a column is not UTF-8.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            got = str(error).splitlines()[0]
            raise _fault("unreadable file", file, expected="a complete Parquet file", got=got) from error
    _check_totals(files[0].parent, fresh, matured)
    return SpanCounts(fresh=fresh.num_rows, matured=matured.num_rows)


def require_labels(num_labels: Mapping[str, int], where: str, surface: str | None = None) -> None:
    """Checks that each task has a label to train on.

    Args:
        num_labels: number of labels by task.
        where: the log and its spans, for the message.
        surface: the surface of the counted rows; None for all surfaces.

    Raises:
        BadInput: if a task has no label; the message names the first such task.
    """
    for task, count in num_labels.items():
        if not count:
            raise BadInput(
                f"no label of task {task}" + (f" on {surface}" if surface else ""), where=where, got="none",
                expected=f"values in column {LABEL_PREFIX + task}",
                fix="Write the labels, choose a longer burn_in (labels of delayed tasks come "
                f"{MATURITY_SPANS} spans later), or remove the task.",
            )  # fmt: skip


def _fault(what: str, where: Path | str, *, expected: str, got: str, fix: str = _WRITE_AGAIN) -> BadInput:
    return BadInput(what, where=str(where), expected=expected, got=got, fix=fix)


def _check_columns(schema: pa.Schema, file: Path) -> None:
    # A repeated column is a fault even if LOG_SCHEMA lacks it: Arrow's dataset reader refuses such a file.
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
    # Parquet writers name the items of a list differently. The name has no meaning, so it is ignored.
    if pa.types.is_list(first) and pa.types.is_list(second):
        return bool(first.value_type.equals(second.value_type))
    return bool(first.equals(second))


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
    for name, expected in zip(LOG_SCHEMA.names, LOG_SCHEMA.types, strict=True):
        _check_text(group, name)
        if pa.types.is_floating(expected):
            is_finite = pc.is_finite(group.table[name])
            if _any_true(pc.invert(is_finite)):
                raise _fault(
                    f"NaN or infinity in column {name}", group.locate(pc.invert(is_finite)),
                    expected="finite numbers, and null for a missing one", got="a value that is not finite",
                )  # fmt: skip


def _check_times(group: _RowGroup) -> None:
    times = group.table[EVENT_TIME_MS]
    is_outside = pc.or_(pc.less(times, _FIRST_MS), pc.greater_equal(times, _END_MS))
    if _any_true(is_outside):
        raise _fault(
            f"column {EVENT_TIME_MS} is not in milliseconds", group.locate(is_outside),
            expected="milliseconds since 1970, of a time between 2000 and 2100",
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


def _count_rows(group: _RowGroup, span: int, fresh: _RowKind, matured: _RowKind) -> None:
    impression_span = group.table[IMPRESSION_SPAN]
    is_fresh = pc.equal(impression_span, span)
    is_matured = pc.equal(impression_span, span - MATURITY_SPANS)
    is_neither = pc.invert(pc.or_(is_fresh, is_matured))
    if _any_true(is_neither):
        raise _fault(
            f"column {IMPRESSION_SPAN} has a row that is neither fresh nor matured", group.locate(is_neither),
            expected=f"{span} (fresh) or {span - MATURITY_SPANS} (matured)",
            got=str(pc.filter(impression_span, is_neither)[0].as_py()),
        )  # fmt: skip
    _count_kind(group, is_fresh, fresh)
    _count_kind(group, is_matured, matured)


def _count_kind(group: _RowGroup, is_kind: Any, kind: _RowKind) -> None:
    """Adds the rows where `is_kind` (`[rows]` bool) is True to the counts of their kind."""
    for task in kind.foreign_tasks:
        labels = group.table[LABEL_PREFIX + task]
        is_foreign = pc.and_(is_kind, pc.is_valid(labels))
        if _any_true(is_foreign):
            raise _fault(
                f"column {LABEL_PREFIX + task} has labels in {kind.name} rows", group.locate(is_foreign),
                expected=f"null, since a {kind.name} row must not carry this task's label",
                got=str(pc.filter(labels, is_foreign)[0].as_py()),
                fix="Write delayed labels only to matured rows, and all other labels only to fresh rows.",
            )  # fmt: skip
    rows = group.table.filter(is_kind)
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


def _any_true(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())
