"""Label rows in and out of a store, as PTransforms that know no runner and no backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from components.label_store.base import ShardWriter, StagedShard
from components.label_store.schemes import open_store


@dataclasses.dataclass
class StageLabels(beam.PTransform):
    """Stages shards of labels: the sink. What it yields is published by the driver, in one step.

    Takes a PCollection of (name, `pa.Table`): which shard of the set this is, and its rows as
    `ShardWriter.write` wants them. A bundle that is retried stages its shards again, and one copy of each is
    published.

    Attributes:
        writer: the attempt the labels belong to.

    Yields (as a PCollection): one `StagedShard` a table.
    """

    writer: ShardWriter

    def expand(self, shards: Any) -> Any:
        """Adds the work to a pipeline."""
        return shards | "Stage" >> beam.MapTuple(self._stage)

    def _stage(self, name: str, table: pa.Table) -> StagedShard:
        shard = self.writer.write(name, table)
        if shard.rows != table.num_rows:
            raise RuntimeError(f"{name}: {table.num_rows} labels given, {shard.rows} staged.")
        return shard


@dataclasses.dataclass
class ReadLabels(beam.PTransform):
    """Reads published label sets: the source. A set is the unit of work; the store reads it in parallel.

    Attributes:
        store_uri: see `open_store`.
        set_ids: the sets.
        columns: of each set.
        surface: keep this surface's rows alone; None keeps all.

    Yields (as a PCollection): (set id, `pa.RecordBatch`), each row once.
    """

    store_uri: str
    set_ids: Sequence[str]
    columns: Sequence[str]
    surface: str | None = None

    def expand(self, pipeline: Any) -> Any:
        """Adds the work to a pipeline."""
        return (
            pipeline
            | "Sets" >> beam.Create(list(self.set_ids))
            | "SpreadSets" >> beam.Reshuffle()
            | "Scan" >> beam.FlatMap(self._scan)
        )

    def _scan(self, set_id: str) -> Iterator[tuple[str, pa.RecordBatch]]:
        store = open_store(self.store_uri)
        for batch in store.scan(set_id, list(self.columns), surface=self.surface):
            yield set_id, batch
