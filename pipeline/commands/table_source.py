"""Makes a local copy of a table that is not a local file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def local_copy(source: Path | str, max_rows: int | None = None) -> Iterator[tuple[Path, int | None]]:
    """Yields a local source as it is; copies a BigQuery table into a temporary Parquet file.

    Args:
        source: a path, or a text `bigquery:PROJECT.DATASET.TABLE`.
        max_rows: copies a sample with at most this number of rows; None: all rows.

    Yields:
        The path of the rows, and the number of rows of the BigQuery table; None without a sample.

    Raises:
        BadInput: if the BigQuery table cannot be read.
    """
    if isinstance(source, Path):
        yield source, None
        return
    from components.event_store.warehouse_table import parse_warehouse_table

    table = parse_warehouse_table(source)
    with tempfile.TemporaryDirectory(prefix="rankdistill-table-") as folder:
        file = Path(folder) / f"{table.name.rpartition('.')[2]}.parquet"
        num_rows = None if max_rows is None else table.num_rows()
        table.write_parquet(file, max_rows, num_rows)
        yield file, num_rows
