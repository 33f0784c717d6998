"""Where the log's spans lie on disk: written all at once, listed, named by ranges.

LOG/span=N/part-*.parquet      a span, complete when `_SUCCESS` lies beside its parts
LOG/span=N-vV/part-*.parquet   version V of it, a re-statement; version 0 has no suffix
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.rows import LOG_SCHEMA

SUCCESS = "_SUCCESS"
_SPAN_FOLDER = re.compile(r"span=(\d+)(?:-v([1-9]\d*))?")
ROW_GROUP_ROWS = 32_768
PART_ROWS = 1_048_576
"""A span is cut into parts of about so many rows."""


def span_folder(log: Path, span: int, version: int = 0) -> Path:
    """Folder of one version of a span, whether it exists or not."""
    return log / (f"span={span}-v{version}" if version else f"span={span}")


def write_span(log: Path, span: int, tables: Iterable[pa.Table], version: int = 0) -> int:
    """Writes one span; a reader sees all of it or nothing.

    Args:
        log: the log's folder, made if it is missing.
        span: its number.
        tables: the rows in order of `event_time_ms`, each table with every column of LOG_SCHEMA in any order.
        version: 0, or the next number for a re-statement of a span that is complete already.

    Returns:
        The number of rows written.

    Raises:
        ValueError: if this version is already complete, for it never changes, or if a table lacks a column.
    """
    folder = span_folder(log, span, version)
    if (folder / SUCCESS).exists():
        raise ValueError(f"span {span} of {log} is complete already. Write a new version, span or log.")
    log.mkdir(parents=True, exist_ok=True)
    partial = log / f".{folder.name}.{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        num_rows = _write_parts(partial, tables)
        (partial / SUCCESS).touch()
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        # And what writers of this span left that were killed.
        for left in log.glob(f".{folder.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
    return num_rows


def span_versions(log: Path) -> dict[int, int]:
    """The newest complete version of every span that has one; spans ascend and may have gaps.

    Raises:
        BadInput: if there is no such folder.
    """
    if not log.is_dir():
        raise BadInput(
            "no event log",
            where=str(log),
            expected="a folder of span=N folders",
            got="no such folder",
            fix="Write one with `rankdistill events`.",
        )
    newest: dict[int, int] = {}
    for entry in log.iterdir():
        match = _SPAN_FOLDER.fullmatch(entry.name)
        if match and (entry / SUCCESS).exists():
            span, version = int(match.group(1)), int(match.group(2) or 0)
            newest[span] = max(version, newest.get(span, 0))
    return dict(sorted(newest.items()))


def complete_spans(log: Path) -> list[int]:
    """Numbers of the spans that are complete, from 0 upward without a gap.

    Raises:
        BadInput: if there is no such folder, no complete span in it, or a gap between spans.
    """
    spans = list(span_versions(log))
    if not spans:
        raise BadInput(
            "empty event log",
            where=str(log),
            expected=f"span=0 with a {SUCCESS} file",
            got="no complete span",
            fix="Write spans with `rankdistill events`.",
        )
    missing = sorted(set(range(spans[-1] + 1)) - set(spans))
    if missing:
        raise BadInput(
            "span gap",
            where=str(log),
            expected=f"every span from 0 to {spans[-1]}",
            got=f"no complete span {', '.join(map(str, missing))}",
            fix="Write the missing spans.",
        )
    return spans


def span_files(log: Path, span: int, version: int | None = None) -> list[Path]:
    """The Parquet files of a complete span, in order of time.

    Args:
        log: the log's folder.
        span: its number.
        version: which one; the newest complete one, when None.

    Raises:
        BadInput: if the span is not there or holds no file, or there is no log.
    """
    newest = span_versions(log)
    if span not in newest:
        raise BadInput(
            "missing span",
            where=str(span_folder(log, span)),
            expected=f"one of the {len(newest)} complete spans, up to {max(newest, default='none')}",
            got=f"span {span}",
            fix="Write the span, or ask for a range that the log holds.",
        )
    folder = span_folder(log, span, newest[span] if version is None else version)
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise BadInput(
            "empty span",
            where=str(folder),
            expected="files part-*.parquet",
            got="none",
            fix="Write the span again.",
        )
    return files


def parse_range(text: str) -> range:
    """Reads `A:B`, both ends included: `3:5` is spans 3, 4 and 5.

    Raises:
        BadInput: if the text is no such range or B lies before A.
    """
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text)
    if not match or int(match.group(2)) < int(match.group(1)):
        raise BadInput(
            "not a range of spans",
            where="spans",
            expected="A:B with 0 <= A <= B, both included, such as 3:5",
            got=repr(text),
            fix="Correct the range.",
        )
    return range(int(match.group(1)), int(match.group(2)) + 1)


def _write_parts(folder: Path, tables: Iterable[pa.Table]) -> int:
    writer = None
    num_parts = num_rows = rows_in_part = 0
    try:
        for table in tables:
            if writer is not None and rows_in_part >= PART_ROWS:
                writer.close()
                writer, rows_in_part = None, 0
            if writer is None:
                writer = pq.ParquetWriter(
                    folder / f"part-{num_parts:05d}.parquet", LOG_SCHEMA, compression="snappy"
                )
                num_parts += 1
            # Selecting by the schema's names makes a forgotten column an error here, not a later null.
            writer.write_table(_log_columns(table), row_group_size=ROW_GROUP_ROWS)
            rows_in_part += table.num_rows
            num_rows += table.num_rows
        if writer is None:
            writer = pq.ParquetWriter(folder / "part-00000.parquet", LOG_SCHEMA)
    finally:
        if writer is not None:
            writer.close()
    return num_rows


def _log_columns(table: pa.Table) -> pa.Table:
    missing = [name for name in LOG_SCHEMA.names if name not in table.column_names]
    if missing:
        raise ValueError(f"a span's table must have every column of LOG_SCHEMA, got none named {missing}.")
    return table.select(LOG_SCHEMA.names).cast(LOG_SCHEMA)
