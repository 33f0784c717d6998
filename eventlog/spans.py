"""Writes, lists and reads the span folders of an event log; parses ranges of spans.

LOG/span=N/part-*.parquet      version 0 of span N
LOG/span=N-vV/part-*.parquet   version V of the revised span N

A span version is complete when its folder has the file `_SUCCESS`.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from eventlog.columns import canonical_schema, convert, is_convertible
from eventlog.errors import BadInput
from eventlog.parquet_files import ParquetWriter, read_table
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, SURFACE

SUCCESS = "_SUCCESS"
_PART_FILE = re.compile(r"part-.*\.parquet")
_SPAN_FOLDER = re.compile(r"span=(\d+)(?:-v([1-9]\d*))?")
ROW_GROUP_ROWS = 32_768
PART_ROWS = 1_048_576
"""A new part file begins after this number of rows. A part may have more rows, as no table is cut in two."""


def span_folder(log: Path, span: int, version: int = 0) -> Path:
    """The path of the folder of one span version, whether or not it exists."""
    return log / (f"span={span}-v{version}" if version else f"span={span}")


def write_span(
    log: Path, span: int, tables: Iterable[pa.Table], version: int = 0, schema: pa.Schema | None = None
) -> int:
    """Writes one span version. A reader sees either all rows or none.

    Args:
        log: the log's folder, created if it is missing.
        span: the number of the span.
        tables: the rows in order of `event_time_ms`. All tables have the same columns.
        version: 0, or for a revised span the next number.
        schema: the columns to write; None: those of the first table, see `canonical_schema`.

    Returns:
        The number of rows written.

    Raises:
        ValueError: if this version is already complete, because a complete version never changes. Also if a
            table lacks a column of the schema, a type or value cannot be converted, or there is neither a
            table nor a schema.
        BadInput: if `schema` is None and `canonical_schema` refuses the first table, or the span's folder has
            files that are no parts.
    """
    folder = span_folder(log, span, version)
    if (folder / SUCCESS).exists():
        raise ValueError(f"span {span} of {log} is already complete. Write a new version, span or log.")
    if folder.exists():
        _require_parts_only(folder)
    log.mkdir(parents=True, exist_ok=True)
    partial = log / f".{folder.name}.{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        num_rows = _write_parts(partial, tables, schema)
        (partial / SUCCESS).touch()
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        # Also deletes partial folders that killed writers of this span have left.
        for partial_folder in log.glob(f".{folder.name}.*"):
            shutil.rmtree(partial_folder, ignore_errors=True)
    return num_rows


def _require_parts_only(folder: Path) -> None:
    """Checks that an incomplete span has only parts, so that no other file is deleted with it."""
    others = sorted(entry.name for entry in folder.iterdir() if not _PART_FILE.fullmatch(entry.name))
    if others:
        raise BadInput(
            "a folder with other files", where=str(folder), expected="the parts of an incomplete span",
            got=others[0], fix="Move the files, or write into another folder.",
        )  # fmt: skip


def span_versions(log: Path) -> dict[int, int]:
    """Maps each complete span to its newest complete version, in order of spans. Spans may be missing.

    Raises:
        BadInput: if the folder does not exist, or the span number in a folder's name has leading zeros.
    """
    if not log.is_dir():
        raise BadInput(
            "no event log", where=str(log), expected="a folder of span=N folders", got="no such folder",
            fix="Write one with `rankdistill events`.",
        )  # fmt: skip
    newest: dict[int, int] = {}
    for entry in log.iterdir():
        match = _SPAN_FOLDER.fullmatch(entry.name)
        if match and (entry / SUCCESS).exists():
            span, version = int(match.group(1)), int(match.group(2) or 0)
            if entry.name != span_folder(log, span, version).name:
                raise BadInput(
                    "span folder with leading zeros", where=str(entry), got=entry.name,
                    expected=span_folder(log, span, version).name, fix="Rename the folder.",
                )  # fmt: skip
            newest[span] = max(version, newest.get(span, 0))
    return dict(sorted(newest.items()))


def complete_spans(log: Path) -> list[int]:
    """All complete spans in order: 0, 1, 2 and so on without a gap.

    Raises:
        BadInput: if the folder does not exist or has no complete span, or a span before the last is missing.
    """
    spans = list(span_versions(log))
    if not spans:
        raise BadInput(
            "empty event log", where=str(log), expected=f"span=0 with a {SUCCESS} file",
            got="no complete span", fix="Write spans with `rankdistill events`.",
        )  # fmt: skip
    missing = sorted(set(range(spans[-1] + 1)) - set(spans))
    if missing:
        raise BadInput(
            "span gap", where=str(log), expected=f"every span from 0 to {spans[-1]}",
            got=f"no complete span {', '.join(map(str, missing))}", fix="Write the missing spans.",
        )  # fmt: skip
    return spans


def span_files(log: Path, span: int, version: int | None = None) -> list[Path]:
    """The Parquet files of a complete span, in order of time.

    Args:
        log: the log's folder.
        span: the number of the span.
        version: a complete span version; None for the newest.

    Raises:
        BadInput: if the log or the span does not exist, or the span has no part file.
    """
    newest = span_versions(log)
    if span not in newest:
        raise BadInput(
            "missing span", where=str(span_folder(log, span)),
            expected=f"one of the {len(newest)} complete spans, up to {max(newest, default='none')}",
            got=f"span {span}", fix="Write the span, or give a range of spans that the log has.",
        )  # fmt: skip
    folder = span_folder(log, span, newest[span] if version is None else version)
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise BadInput(
            "empty span", where=str(folder), expected="files part-*.parquet", got="none",
            fix="Write the span again.",
        )  # fmt: skip
    return files


def count_surfaces(log: Path, spans: Iterable[int]) -> dict[str, int]:
    """Number of rows of each surface in the given spans, the largest number first.

    Raises:
        BadInput: if a span is missing.
    """
    counts: Counter[str] = Counter()
    for span in spans:
        for file in span_files(log, span):
            values = pc.value_counts(read_table(file, columns=[SURFACE])[SURFACE].combine_chunks())
            counts.update({value["values"]: value["counts"] for value in values.to_pylist()})
    return dict(counts.most_common())


def count_labels(log: Path, spans: Iterable[int], tasks: Iterable[str]) -> dict[str, Counter[str]]:
    """Number of labels by surface and then by task, in fresh and matured rows of the given spans.

    Raises:
        BadInput: if a span is missing.
    """
    columns = [LABEL_PREFIX + task for task in tasks]
    counts: dict[str, Counter[str]] = {}
    for span in spans:
        for file in span_files(log, span):
            table = read_table(file, columns=[SURFACE, *columns])
            for row in table.group_by(SURFACE).aggregate([(name, "count") for name in columns]).to_pylist():
                labels = {name.removeprefix(LABEL_PREFIX): row[f"{name}_count"] for name in columns}
                counts.setdefault(row[SURFACE], Counter()).update(labels)
    return counts


def parse_range(text: str) -> range:
    """Parses `A:B` with both ends included: `3:5` is spans 3, 4 and 5.

    Raises:
        BadInput: if the text has another form, B is less than A, or a number has more than six digits.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*:\s*(\d{1,6})\s*", text)
    if not match or int(match.group(2)) < int(match.group(1)):
        raise BadInput(
            "not a range of spans", where="spans", got=repr(text), fix="Correct the range.",
            expected="A:B with 0 <= A <= B <= 999999, both included, such as 3:5",
        )  # fmt: skip
    return range(int(match.group(1)), int(match.group(2)) + 1)


def _write_parts(folder: Path, tables: Iterable[pa.Table], schema: pa.Schema | None) -> int:
    """Writes the part files; returns the number of rows. A span without rows has one empty part."""
    writer = None
    num_parts = num_rows = rows_in_part = 0
    try:
        for table in tables:
            schema = schema or canonical_schema(table.schema, str(folder))
            if writer is None or rows_in_part >= PART_ROWS:
                if writer is not None:
                    writer.close()
                writer, rows_in_part = _part_writer(folder, num_parts, schema), 0
                num_parts += 1
            writer.write_table(_log_columns(table, schema), row_group_size=ROW_GROUP_ROWS)
            rows_in_part += table.num_rows
            num_rows += table.num_rows
        if writer is None:
            if schema is None:
                raise ValueError("a span without rows needs a schema, got none. Give the columns of the log.")
            writer = _part_writer(folder, 0, schema)
    finally:
        if writer is not None:
            writer.close()
    return num_rows


def _part_writer(folder: Path, part: int, schema: pa.Schema) -> ParquetWriter:
    # Almost every id and time is different, so a dictionary of them costs time and saves nothing.
    repeated = [name for name in schema.names if name not in (EXAMPLE_ID, EVENT_TIME_MS)]
    return ParquetWriter(
        folder / f"part-{part:05d}.parquet", schema, compression="snappy", use_dictionary=repeated,
        write_statistics=[EVENT_TIME_MS, IMPRESSION_SPAN],
    )  # fmt: skip


def _log_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Converts a table to `schema`; raises ValueError if it lacks a column, since readers would see nulls."""
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(
            f"every table of a span must have the columns of the log, got one without {missing}."
        )
    for name in schema.names:
        given, wanted = table.schema.field(name).type, schema.field(name).type
        if not is_convertible(given, wanted):
            hint = " Convert it to milliseconds since 1970." if name == EVENT_TIME_MS else " Convert it."
            raise ValueError(f"column {name} must be of type {wanted}, got {given}.{hint}")
    return convert(table, schema)
