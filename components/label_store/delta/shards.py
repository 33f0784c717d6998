"""Writes the Parquet shards of a Delta label set; runs in Beam workers."""

from __future__ import annotations

import dataclasses
import os
import uuid
from pathlib import Path

import pyarrow as pa

from components.label_store.base import ShardWriter, SoftColumn, StagedShard
from components.label_store.publication import describe_shard, prepare_rows
from eventlog.parquet_files import write_table

ROW_GROUP_ROWS = 32_768
"""Maximum rows of a row group. Small groups let a scan of one surface skip groups by their statistics."""


@dataclasses.dataclass(frozen=True)
class DeltaShardWriter(ShardWriter):
    """Writes shards into the partition folder of the set. The Delta table does not list them before
    publication.

    Attributes:
        root: folder of the Delta table.
        attempt_id: id of the attempt, and of the set if this attempt is published.
        columns: task → kind, link, unit and scale of its column `soft_<task>`.
    """

    root: str
    attempt_id: str
    columns: dict[str, SoftColumn]

    @property
    def set_id(self) -> str:
        """See `ShardWriter`."""
        return self.attempt_id

    def write(self, name: str, table: pa.Table) -> StagedShard:
        """See `ShardWriter`. Every call writes a new file."""
        table = prepare_rows(name, table, self.columns)
        path = write_parquet(Path(self.root) / f"label_set={self.attempt_id}", name, table)
        size = path.stat().st_size
        return describe_shard(name, str(path.relative_to(self.root)), size, table, self.columns)


def write_parquet(folder: Path, name: str, table: pa.Table) -> Path:
    """Writes a new file `<name>-<unique>.parquet`: first under a hidden name, then renamed when complete."""
    folder.mkdir(parents=True, exist_ok=True)
    # Unique name: a late retry of a bundle must not overwrite a file that has been published.
    path = folder / f"{name}-{uuid.uuid4().hex}.parquet"
    partial = path.with_name(f".{path.name}")
    write_table(table, partial, row_group_size=ROW_GROUP_ROWS)
    flush_to_disk(partial)
    partial.rename(path)
    return path


def flush_to_disk(path: Path) -> None:
    """Flushes a file to disk, so that the contents of a committed file survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
