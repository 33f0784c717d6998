"""Writes a span of the event log as tf.Examples: fresh and matured rows, each with a holdout split."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.history.lookup import Answered, Lookup
from components.transforms import history_beam
from components.transforms.history_beam import LookUpHistory
from components.transforms.shards import (
    FRESH_SPLITS,
    MATURED_SPLITS,
    TRAINED_SPLITS,
    split_folder,
    write_shard,
)
from eventlog.columns import LogColumns, convert
from eventlog.parquet_files import open_file
from eventlog.rows import CLUSTER_ID, IMPRESSION_SPAN, LABEL_PREFIX, SURFACE
from eventlog.spans import span_files
from models.shard_names import shard_name

HOLDOUT_PERCENT = 5
"""Share of the clusters on which no model trains, in percent."""
_HASH_KEY = "rank-holdout-v01"
_HASH_BUCKETS = 10_000


@dataclasses.dataclass(frozen=True)
class RowRange:
    """`num_rows` rows of a Parquet file, from row `first_row`; the splits divide them into shards number
    `shard`."""

    shard: int
    file: str
    first_row: int
    num_rows: int


def plan_shards(files: Sequence[tuple[str, int]], rows_per_shard: int) -> list[RowRange]:
    """Cuts each file into row ranges of about equal size, in time order.

    Args:
        files: paths and their numbers of rows, in time order.
        rows_per_shard: maximum number of rows in a range.

    Returns:
        Row ranges, with shards numbered from 0. No range covers two files. A file without rows becomes an
        empty range, so that every span has at least one shard.

    Raises:
        ValueError: if `rows_per_shard` is not positive.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard must be >= 1, got {rows_per_shard}.")
    ranges: list[RowRange] = []
    for file, num_rows in files:
        num_ranges = max(1, math.ceil(num_rows / rows_per_shard))
        bounds = [num_rows * position // num_ranges for position in range(num_ranges + 1)]
        for first, end in itertools.pairwise(bounds):
            ranges.append(RowRange(shard=len(ranges), file=file, first_row=first, num_rows=end - first))
    return ranges


def holdout_mask(cluster_ids: pa.Array) -> np.ndarray:
    """Returns the mask of the rows of held-out clusters, on which no model trains.

    The mask depends only on the cluster id, so a cluster is held out either in all spans or in none.

    Args:
        cluster_ids: `[rows]` string.

    Returns:
        `[rows]` bool, True for about HOLDOUT_PERCENT of all clusters.
    """
    ids = np.asarray(cluster_ids, dtype=object)
    hashes = pd.util.hash_array(ids, hash_key=_HASH_KEY)
    return np.asarray(hashes % _HASH_BUCKETS < HOLDOUT_PERCENT * _HASH_BUCKETS // 100)


def split_rows(table: pa.Table, span: int) -> dict[str, pa.RecordBatch]:
    """Returns split → rows in the table's order.

    Fresh and matured rows have different splits, and so have trained and held-out clusters.
    """
    is_fresh = np.asarray(table[IMPRESSION_SPAN].to_numpy() == span)
    held_out = holdout_mask(table[CLUSTER_ID])
    rows = {}
    for where, (trained_split, held_out_split) in ((is_fresh, FRESH_SPLITS), (~is_fresh, MATURED_SPLITS)):
        rows[trained_split] = _single_batch(table.filter(pa.array(where & ~held_out)))
        rows[held_out_split] = _single_batch(table.filter(pa.array(where & held_out)))
    return rows


def read_row_range(row_range: RowRange, schema: pa.Schema) -> pa.Table:
    """Reads a row range with the columns of `schema`; reads only the row groups that contain its rows."""
    parquet = open_file(row_range.file)
    sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    end_row = row_range.first_row + row_range.num_rows
    groups = [
        group
        for group in range(len(sizes))
        if starts[group] < end_row and starts[group + 1] > row_range.first_row
    ]
    if not groups:
        return schema.empty_table()
    names = [name for name in schema.names if name in parquet.schema_arrow.names]
    table = parquet.read_row_groups(groups, columns=names)
    return convert(table.slice(row_range.first_row - starts[groups[0]], row_range.num_rows), schema)


@dataclasses.dataclass
class EncodeEvents(beam.PTransform):
    """Reads a span of the event log and writes its Examples shards; yields each shard's row counts.

    Every split has a file for every shard, even without rows, so that file patterns of readers always match.
    Shards are in time order.

    Attributes:
        log: folder of the event log.
        columns: the columns to encode, and the delays. A matured row is left out if no task has its delay:
            `span` minus the span of its impression.
        span: the span to encode.
        output_uri: root of the Examples artifact.
        rows_per_shard: maximum number of log rows in a shard.
        surface: the surface to encode; None for all.
        version: the span version; None for the newest.
        history: the history of the span's rows, whose columns are added; None if the deployment has none.

    Yields (as a PCollection): one dict of counts per shard. `shard`: its index; `read`: rows read;
    `<split>`: rows written to the split; `label_<task>`: number of hard labels in the splits on which models
    train.
    """

    log: str
    columns: LogColumns
    span: int
    output_uri: str
    rows_per_shard: int = 32_768
    surface: str | None = None
    version: int | None = None
    history: Lookup | None = None

    def expand(self, pipeline: Any) -> Any:
        """Adds the transform to a pipeline.

        Raises:
            BadInput: if the log lacks the span.
        """
        files = [
            (str(file), int(open_file(file).metadata.num_rows))
            for file in span_files(Path(self.log), self.span, self.version)
        ]
        ranges = plan_shards(files, self.rows_per_shard)
        spread = pipeline | "Row ranges" >> beam.Create(ranges) | "Spread" >> beam.Reshuffle()
        ids = tuple(self.history.state.history.entities.values()) if self.history is not None else ()
        rows = _Rows(self.span, self.columns, self.surface, ids)
        encode = _EncodeRows(self, rows, len(ranges))
        if self.history is None or self._is_small(self.history, len(ranges)):
            return spread | "Encode" >> beam.ParDo(encode)
        looked_up = spread | "History" >> LookUpHistory(self.history, rows.read_ids)
        keyed = spread | "Key" >> beam.Map(lambda row_range: (row_range.shard, row_range))
        return (
            {"range": keyed, **looked_up}
            | "Meet" >> beam.CoGroupByKey()
            | "Encode" >> beam.FlatMapTuple(encode.process_with_history)
        )

    def _is_small(self, history: Lookup, num_ranges: int) -> bool:
        """Whether every worker can read the whole state, so that no ids need to be grouped by its shards."""
        spans = [self.span - age for age in self.columns.ages]
        return num_ranges * history.num_bytes(spans) <= history_beam.SMALL_BYTES


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of a span that are encoded: those with the columns' ages and, if given, of one surface.

    `id_columns` are the columns of the history's entities.
    """

    span: int
    columns: LogColumns
    surface: str | None
    id_columns: tuple[str, ...]

    def select(self, table: pa.Table) -> pa.Table:
        """The encoded rows among those of a row range."""
        ages = pc.subtract(self.span, table[IMPRESSION_SPAN])
        table = table.filter(pc.is_in(ages, value_set=pa.array(self.columns.ages, pa.int64())))
        return table if self.surface is None else table.filter(pc.equal(table[SURFACE], self.surface))

    def read_ids(self, row_range: RowRange) -> pa.Table:
        """Reads the columns of the ids in the encoded rows of a row range."""
        wanted = {IMPRESSION_SPAN, SURFACE, *self.id_columns}
        fields = [field for field in self.columns.schema if field.name in wanted]
        return self.select(read_row_range(row_range, pa.schema(fields)))


class _EncodeRows(beam.DoFn):
    """Writes one row range as its shard of every split."""

    def __init__(self, encode: EncodeEvents, rows: _Rows, num_shards: int) -> None:
        self._span = encode.span
        self._columns = encode.columns
        self._output_uri = encode.output_uri
        self._num_shards = num_shards
        self._rows = rows
        self._history = encode.history

    def process_with_history(self, shard: int, sides: Mapping[str, Any]) -> Iterator[dict[str, int]]:
        """Like `process`, for a row range together with the answers of `LookUpHistory`.

        Raises:
            RuntimeError: if the Beam runner lost an answer; its ids would seem to be new.
        """
        (row_range,), (num_asked,), answers = sides["range"], sides["asked"], list(sides["answers"])
        if len(answers) != num_asked:
            raise RuntimeError(
                f"span {self._span}, shard {shard}: expected {num_asked} answers of the history, got "
                f"{len(answers)}. The Beam runner has lost or repeated work; run the span again."
            )
        return self.process(row_range, answers)

    def process(
        self, row_range: RowRange, answers: Iterable[Answered] | None = None
    ) -> Iterator[dict[str, int]]:
        """Writes the shards of a row range; yields their counts, see `EncodeEvents`.

        Without `answers` this worker looks up the history itself.
        """
        table = read_row_range(row_range, self._columns.schema)
        counts = {"shard": row_range.shard, "read": table.num_rows}
        table = self._rows.select(table)
        if self._history is not None:
            answers = self._history.answer_all(table) if answers is None else answers
            table = self._history.add_columns(table, answers)
        name = shard_name(self._span, row_range.shard, self._num_shards)
        labels = {LABEL_PREFIX + task: 0 for task in self._columns.delays}
        for split, rows in split_rows(table, self._span).items():
            counts[split] = write_shard(f"{split_folder(self._output_uri, split)}/{name}", rows)
            if split in TRAINED_SPLITS:
                labels |= {label: labels[label] + _num_not_null(rows, label) for label in labels}
        yield counts | labels


def _num_not_null(rows: pa.RecordBatch, column: str) -> int:
    return int(rows.num_rows - rows.column(column).null_count)


def _single_batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=table.schema
    )
