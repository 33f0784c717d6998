"""Refuses a span that must not be learnt from, before anything downstream has seen it."""

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
    EXAMPLE_ID,
    FIXED,
    IMMEDIATE_TASKS,
    IMPRESSION_SPAN,
    LABEL_PREFIX,
    LOG_SCHEMA,
    MATURITY_SPANS,
)
from eventlog.spans import span_files

_WRITE_AGAIN = "Repair the source and write the span again."


class EmptySpan(BadInput):
    """A span in which nothing was shown: nothing is wrong with it, and there is nothing to learn from it."""


@dataclass(frozen=True)
class SpanCounts:
    """Rows of a span that has passed: `fresh` are its own impressions, `matured` an earlier span's."""

    fresh: int
    matured: int


@dataclass
class _Kind:
    """What has been seen of one kind of row, over all row groups so far."""

    tasks: tuple[str, ...]
    foreign_tasks: tuple[str, ...]
    rows: int = 0
    ids: list[pa.ChunkedArray] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)


def check_span(log: Path, span: int, version: int | None = None) -> SpanCounts:
    """Reads a span once, a row group at a time, and refuses it at the first fault.

    Args:
        log: the log's folder.
        span: a complete span of it.
        version: which one; the newest, when None.

    Returns:
        The number of fresh and of matured rows.

    Raises:
        BadInput: file unreadable; column missing or of another type; no fresh row (`EmptySpan`); a row that
            is neither fresh nor matured; a null in a fixed column; NaN or infinity; a label that the row
            cannot know yet (or no longer carries); a task without any label; an example id twice.
    """
    fresh = _Kind(tasks=IMMEDIATE_TASKS, foreign_tasks=DELAYED_TASKS)
    matured = _Kind(tasks=DELAYED_TASKS, foreign_tasks=IMMEDIATE_TASKS)
    files = span_files(log, span, version)
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            _check_columns(parquet.schema_arrow, file)
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=LOG_SCHEMA.names)
                _check_values(table, file)
                _count_rows(table, span, file, fresh, matured)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(
                "unreadable file",
                where=str(file),
                expected="a complete Parquet file",
                got=str(error).splitlines()[0],
                fix=_WRITE_AGAIN,
            ) from error
    _check_totals(files[0].parent, fresh, matured)
    return SpanCounts(fresh=fresh.rows, matured=matured.rows)


def _check_columns(schema: pa.Schema, file: Path) -> None:
    for wanted in LOG_SCHEMA:
        if wanted.name not in schema.names:
            raise BadInput(
                f"missing column {wanted.name}",
                where=str(file),
                expected=f"{wanted.name} of type {wanted.type}",
                got="no such column",
                fix=_WRITE_AGAIN,
            )
        found = schema.field(wanted.name).type
        if not _same_type(found, wanted.type):
            raise BadInput(
                f"wrong type of column {wanted.name}",
                where=str(file),
                expected=str(wanted.type),
                got=str(found),
                fix=_WRITE_AGAIN,
            )


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    # Writers differ in the name they give to a list's items; it means nothing.
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return bool(found.value_type.equals(wanted.value_type))
    return bool(found.equals(wanted))


def _check_values(table: pa.Table, file: Path) -> None:
    for name in FIXED.names:
        if table[name].null_count:
            raise BadInput(
                f"null in column {name}",
                where=str(file),
                expected="a value in every row",
                got=f"{table[name].null_count} nulls",
                fix=_WRITE_AGAIN,
            )
    for column in LOG_SCHEMA:
        if pa.types.is_floating(column.type) and _any(pc.invert(pc.is_finite(table[column.name]))):
            raise BadInput(
                f"NaN or infinity in column {column.name}",
                where=str(file),
                expected="finite numbers, null where one is missing",
                got="a value that is not finite",
                fix=_WRITE_AGAIN,
            )


def _count_rows(table: pa.Table, span: int, file: Path, fresh: _Kind, matured: _Kind) -> None:
    impression_span = table[IMPRESSION_SPAN]
    is_fresh = pc.equal(impression_span, span)
    is_matured = pc.equal(impression_span, span - MATURITY_SPANS)
    unknown = pc.invert(pc.or_(is_fresh, is_matured))
    if _any(unknown):
        raise BadInput(
            f"unknown kind of row in column {IMPRESSION_SPAN}",
            where=str(file),
            expected=f"{span} (fresh) or {span - MATURITY_SPANS} (matured)",
            got=str(pc.filter(impression_span, unknown)[0].as_py()),
            fix=_WRITE_AGAIN,
        )
    _count_kind(table.filter(is_fresh), file, fresh, "fresh")
    _count_kind(table.filter(is_matured), file, matured, "matured")


def _count_kind(rows: pa.Table, file: Path, kind: _Kind, word: str) -> None:
    for task in kind.foreign_tasks:
        labels = rows[LABEL_PREFIX + task]
        if labels.null_count < rows.num_rows:
            raise BadInput(
                f"column {LABEL_PREFIX + task} has labels in {word} rows",
                where=str(file),
                expected=f"null, since a {word} row must not carry this task's label",
                got=f"{rows.num_rows - labels.null_count} labels",
                fix="Keep delayed labels for matured rows and all others for fresh rows.",
            )
    for task in kind.tasks:
        kind.labels[task] += rows.num_rows - rows[LABEL_PREFIX + task].null_count
    kind.rows += rows.num_rows
    kind.ids.append(rows[EXAMPLE_ID])


def _check_totals(folder: Path, fresh: _Kind, matured: _Kind) -> None:
    if not fresh.rows:
        raise EmptySpan(
            "empty span",
            where=str(folder),
            expected="at least one fresh row",
            got=f"none ({matured.rows} matured rows)",
            fix=_WRITE_AGAIN,
        )
    for kind, word in ((fresh, "fresh"), (matured, "matured")):
        for task in kind.tasks:
            if kind.rows and not kind.labels[task]:
                raise BadInput(
                    f"column {LABEL_PREFIX + task} is null in all {word} rows",
                    where=str(folder),
                    expected=f"labels of {task}",
                    got=f"none in {kind.rows} rows",
                    fix="Repair the source, or drop the task from log and configuration.",
                )
        _check_unique(folder, kind, word)


def _check_unique(folder: Path, kind: _Kind, word: str) -> None:
    ids = pa.chunked_array([chunk for column in kind.ids for chunk in column.chunks], type=pa.string())
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    raise BadInput(
        f"duplicate {EXAMPLE_ID} in {word} rows",
        where=str(folder),
        expected="every id once",
        got=f"{len(repeated)} repeated ids, such as {repeated.field('values')[0].as_py()!r}",
        fix="Drop the duplicates in the source and write the span again.",
    )


def _any(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())
