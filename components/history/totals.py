"""Totals per entity as Arrow tables: computed from rows of the log, added up over spans in a fixed order.

One row is one id. Sums are float64. They are added in the order of the log's row groups, then of the spans.
So they have the same bits for any number of workers and shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.history.settings import ITEMS_TYPE, History
from eventlog.rows import EVENT_TIME_MS, IMPRESSION_SPAN, LABEL_PREFIX

Array = Any

ID = "id"
IMPRESSIONS = "impressions"
ALL_ROWS = "_rows"
"""Name of an entity that is in every row, with the id "". Its mean labels are `Lookup.priors`."""
TIMES_TYPE = pa.list_(pa.int64())
_HASH_KEY = "rank-history-v01"


def totals_schema(history: History, entity: str) -> pa.Schema:
    """The columns of an entity's totals.

    `id` text; `impressions` float64; per task `known_<task>` and `sum_<task>` float64, number and sum of its
    labels; per sequence of the entity `items_<name>` and `times_<name>`, oldest first.
    """
    numbers = [pa.field(name, pa.float64()) for name in _number_columns(history)]
    lists = [
        pa.field(name, kind)
        for sequence in history.sequences_of(entity)
        for name, kind in zip(stored_columns(sequence), (ITEMS_TYPE, TIMES_TYPE), strict=True)
    ]
    return pa.schema([pa.field(ID, pa.string()), *numbers, *lists])


def stored_columns(sequence: str) -> tuple[str, str]:
    """The columns of a sequence in the totals: items and times."""
    return f"items_{sequence}", f"times_{sequence}"


def task_columns(task: str) -> tuple[str, str]:
    """The columns of a task in the totals: number and sum of its labels."""
    return f"known_{task}", f"sum_{task}"


def ids_of_rows(column: pa.ChunkedArray | pa.Array) -> tuple[Array, pa.Array]:
    """Pairs of row and id, in the order of rows; a row of a list column has each of its ids once.

    Args:
        column: `[rows]` text or integer, or lists of these; null adds no pair.

    Returns:
        `[pairs]` int64 numbers of rows, `[pairs]` text without null.
    """
    column = as_array(column)
    if pa.types.is_list(column.type):
        rows, values = pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column)
    else:
        rows, values = np.arange(len(column)), column
    is_valid = values.is_valid()
    rows, ids = rows[is_valid.to_numpy(zero_copy_only=False)], values.filter(is_valid).cast(pa.string())
    if pa.types.is_list(column.type):
        pairs = pd.DataFrame({"row": rows, "code": ids.dictionary_encode().indices.to_numpy()})
        first = ~pairs.duplicated().to_numpy()
        rows, ids = rows[first], ids.filter(pa.array(first))
    return rows.astype(np.int64), ids


def shards_of_ids(ids: pa.Array, num_shards: int) -> Array:
    """`[ids]` int64: the shard of each id, by its hash."""
    hashes = pd.util.hash_array(np.asarray(ids.to_numpy(zero_copy_only=False), object), hash_key=_HASH_KEY)
    return (hashes % np.uint64(num_shards)).astype(np.int64)


def count_rows(rows: pa.Table, span: int, history: History, entity: str) -> pa.Table:
    """The totals of some rows of a span.

    Args:
        rows: rows of the log of `span`. Fresh rows count as impressions and add items; the labels of fresh
            and matured rows count.
        span: the span that holds the rows.
        history: the settings.
        entity: a declared entity, or ALL_ROWS.

    Returns:
        A table of `totals_schema`, ids in order of their first row.
    """
    if entity == ALL_ROWS:
        row_of_pair, ids = np.arange(rows.num_rows), pa.array([""] * rows.num_rows, pa.string())
    else:
        row_of_pair, ids = ids_of_rows(rows[history.entities[entity]])
    encoded = ids.dictionary_encode()
    codes, size = encoded.indices.to_numpy(), len(encoded.dictionary)
    fresh = as_array(pc.equal(rows[IMPRESSION_SPAN], span)).to_numpy(zero_copy_only=False)
    fresh_pairs = fresh[row_of_pair]
    columns: list[Any] = [encoded.dictionary, np.bincount(codes, fresh_pairs, size)]
    for task in history.tasks:
        labels = rows[LABEL_PREFIX + task].to_numpy().astype(np.float64)[row_of_pair]
        known = ~np.isnan(labels)
        columns.append(np.bincount(codes[known], minlength=size).astype(np.float64))
        columns.append(np.bincount(codes[known], labels[known], size))
    times = rows[EVENT_TIME_MS].to_numpy()
    for sequence in history.sequences_of(entity).values():
        items = as_array(rows[sequence.column]).cast(pa.string())
        added = fresh_pairs & items.is_valid().to_numpy(zero_copy_only=False)[row_of_pair]
        chosen = row_of_pair[added]
        columns += _last_items(
            codes[added], times[chosen], items.take(pa.array(chosen)), size, sequence.length
        )
    return _table(columns, totals_schema(history, entity))


def add_up(
    tables: Sequence[pa.Table], history: History, entity: str, weights: Sequence[float] | None = None
) -> pa.Table:
    """Adds up totals.

    Args:
        tables: tables of `totals_schema`, oldest first. An id may be in several of them.
        history: the settings.
        entity: the entity.
        weights: per table the factor of its numbers; None: 1.

    Returns:
        A table of `totals_schema`: numbers are added in the order of `tables`; sequences keep the last
        items.
    """
    schema = totals_schema(history, entity)
    table = pa.concat_tables([schema.empty_table(), *tables])
    encoded = as_array(table[ID]).dictionary_encode()
    codes, size = encoded.indices.to_numpy(), len(encoded.dictionary)
    columns: list[Any] = [encoded.dictionary]
    factors = np.repeat(weights or [1.0] * len(tables), [part.num_rows for part in tables])
    for name in _number_columns(history):
        columns.append(np.bincount(codes, table[name].to_numpy() * factors, size))
    for name, sequence in history.sequences_of(entity).items():
        items, times = (as_array(table[column]) for column in stored_columns(name))
        owners = codes[pc.list_parent_indices(times).to_numpy()]
        flat = pc.list_flatten(times).to_numpy(), pc.list_flatten(items)
        columns += _last_items(owners, *flat, size, sequence.length)
    return _table(columns, schema)


def as_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array. In pyarrow 10, `combine_chunks` gives an array only for two or more chunks."""
    if isinstance(column, pa.Array):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def _number_columns(history: History) -> list[str]:
    return [IMPRESSIONS, *(name for task in history.tasks for name in task_columns(task))]


def _last_items(
    owners: Array, times: Array, items: pa.Array, num_owners: int, length: int
) -> tuple[pa.Array, pa.Array]:
    """The last items of each owner.

    Args:
        owners: `[items]` int, in [0, num_owners).
        times: `[items]` int64. Of two equal times, the later item is the newer one.
        items: `[items]` text.
        num_owners: number of owners.
        length: largest number of items of an owner.

    Returns:
        `[num_owners]` lists of items and of their times, oldest first.
    """
    order = np.lexsort((times, owners))
    counts = np.bincount(owners, minlength=num_owners)
    rank_from_end = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))
    order = order[rank_from_end < length]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, length))])
    kept = pa.array(order, pa.int64())
    offsets = pa.array(offsets, pa.int32())
    return (
        pa.ListArray.from_arrays(offsets, items.take(kept)),
        pa.ListArray.from_arrays(offsets, pa.array(times[order], pa.int64())),
    )
