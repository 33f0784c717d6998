"""Label rows in and out of a store, as PTransforms that know no runner and no backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from components.label_store.base import EVENT_DATE, ShardWriter, StagedShard, row_schema
from components.label_store.publication import describe_shard, prepare_rows
from components.label_store.schemes import open_store

_TYPES = {pa.string(): "STRING", pa.date32(): "DATE", pa.float32(): "FLOAT64"}


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
        sink = self.writer.stock_sink
        if sink is None:
            return shards | "Stage" >> beam.MapTuple(self._stage)
        fields = [{"name": sink.id_column, "type": "STRING", "mode": "REQUIRED"}]
        fields += [
            {
                "name": field.name,
                "type": _TYPES[field.type],
                "mode": "NULLABLE" if field.nullable else "REQUIRED",
            }
            for field in row_schema(list(self.writer.columns))
        ]
        _ = (
            shards
            | "Rows" >> beam.FlatMapTuple(self._rows)
            | "Write"
            >> beam.io.WriteToBigQuery(
                sink.table,
                schema={"fields": fields},
                method=beam.io.WriteToBigQuery.Method.FILE_LOADS,
                custom_gcs_temp_location=sink.temporary,
                write_disposition="WRITE_APPEND",
                create_disposition="CREATE_NEVER",
            )
        )
        return shards | "Describe" >> beam.MapTuple(self._describe)

    def _rows(self, name: str, table: pa.Table) -> Iterator[dict[str, Any]]:
        """Dict rows, which is what the stock sink takes and why it is slow."""
        for row in prepare_rows(name, table, self.writer.columns).to_pylist():
            row[EVENT_DATE] = row[EVENT_DATE].isoformat()
            yield {self.writer.stock_sink.id_column: self.writer.set_id, **row}  # type: ignore[union-attr]

    def _describe(self, name: str, table: pa.Table) -> StagedShard:
        return describe_shard(
            name, "", 0, prepare_rows(name, table, self.writer.columns), self.writer.columns
        )

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
