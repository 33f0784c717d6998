"""Reads and writes Parquet, and refuses files that carry code. No other module may read or write Parquet.

Importing this module disables columns of pickled code for every Arrow reader of the process, see
`eventlog.pickled_columns`.

`read_table` and `open_dataset` first open each file in the calling thread. If instead a thread of pyarrow
opened the refused file, pyarrow 10 might abort the process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.pickled_columns import is_refusal

__all__ = [
    "ParquetWriter",
    "code_refused",
    "open_dataset",
    "open_file",
    "parse_table",
    "read_table",
    "write_table",
]


class ParquetWriter(pq.ParquetWriter):  # type: ignore[misc]
    """pyarrow's writer; a relative path may have any characters."""

    def __init__(self, where: Any, schema: pa.Schema, **options: Any) -> None:
        super().__init__(_without_uri(where), schema, **options)


def write_table(table: pa.Table, where: Any, **options: Any) -> None:
    """Writes a table as one Parquet file, like pyarrow's; a relative path may have any characters."""
    pq.write_table(table, _without_uri(where), **options)


def _without_uri(where: Any) -> Any:
    """The absolute path of a local file: pyarrow reads a relative path of a new file as a URI."""
    is_path = isinstance(where, str | Path) and "://" not in str(where)
    return os.path.abspath(where) if is_path else where  # noqa: PTH100 - as a text, without resolving links


@contextlib.contextmanager
def code_refused(where: object) -> Iterator[None]:
    """Raises a readable error if Arrow data that is decoded in this block carries code. The code is not run.

    Args:
        where: the file or table that the data comes from, for the error message.

    Raises:
        BadInput: if a column has the extension type of pickled Python code.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not is_refusal(error):
            raise
        # The message of pyarrow_hotfix contains bytes of the file, so our message leaves it out.
        raise BadInput(
            "data with code", where=str(where), expected="columns of plain Arrow types",
            got="a column of pickled Python code, which was not run",
            fix="Find out who wrote this data, and write it again from its source.",
        ) from None  # fmt: skip


def read_table(file: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a Parquet file; `columns` None reads all columns.

    Raises:
        BadInput: if the file carries code.
    """
    open_file(file).close()
    return pq.read_table(file, columns=columns, partitioning=None)


def parse_table(content: bytes, where: str) -> pa.Table:
    """Reads a table from the bytes of a Parquet file; `where` names the file in the error message.

    Raises:
        BadInput: if the file carries code.
    """
    with code_refused(where):
        return pq.ParquetFile(pa.BufferReader(content)).read()


def open_file(file: str | Path) -> pq.ParquetFile:
    """Opens a Parquet file to read its metadata or single row groups.

    Raises:
        BadInput: if the file carries code.
    """
    with code_refused(file):
        return pq.ParquetFile(file)


def open_dataset(files: Sequence[str], schema: pa.Schema | None = None) -> ds.Dataset:
    """Opens Parquet files as one dataset; `schema` None takes the schema of the first file.

    Raises:
        BadInput: if a file carries code.
    """
    for file in files:
        open_file(file).close()
    return ds.dataset(list(files), schema=schema, format="parquet")
