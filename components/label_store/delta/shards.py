"""How a Beam worker stages one Parquet shard of a Delta label set."""

from __future__ import annotations

import dataclasses
import os
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.label_store.base import ShardWriter, SoftColumn, StagedShard
from components.label_store.publication import describe_shard, prepare_rows

ROW_GROUP_ROWS = 32_768
"""Small enough that a surface's row groups can be told apart by their statistics."""


@dataclasses.dataclass(frozen=True)
class DeltaShardWriter(ShardWriter):
    """Writes into the set's own partition folder, which no snapshot names until it is published.

    Attributes:
        root: the Delta table's folder.
        attempt: the set id.
        columns: task → meaning.
    """

    root: str
    attempt: str
    columns: dict[str, SoftColumn]

    @property
    def set_id(self) -> str:
        """The id of the set to be."""
        return self.attempt

    def write(self, name: str, table: pa.Table) -> StagedShard:
        """Writes to a hidden file and renames it; every call makes a file of its own."""
        table = prepare_rows(name, table, self.columns)
        path = write_parquet(Path(self.root) / f"label_set={self.attempt}", name, table)
        size = path.stat().st_size
        return describe_shard(name, str(path.relative_to(self.root)), size, table, self.columns)


def write_parquet(folder: Path, name: str, table: pa.Table) -> Path:
    """Writes a new file `<name>-<unique>.parquet` that never exists by halves."""
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that was given up and comes back must not write over a file that is published by then.
    path = folder / f"{name}-{uuid.uuid4().hex}.parquet"
    partial = path.with_name(f".{path.name}")
    pq.write_table(table, partial, row_group_size=ROW_GROUP_ROWS)
    settle_file(partial)
    partial.rename(path)
    return path


def settle_file(path: Path) -> None:
    """Waits until the file's bytes are on the disk: what a commit names must survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
