"""History features: counts and smoothed label means of declared entities, over all earlier spans.

In the shipped configurations only the teacher uses these features, because a student would need a feature
store at serving time. The state is saved after each span, so that a later run can add spans.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.errors import BadInput
from eventlog.history_settings import HistorySettings
from eventlog.parquet_files import read_table, write_table
from eventlog.rows import IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.totals import EntityTotals, HistoryTotals

Array = Any

STATE_FILE = "history.parquet"
_SPAN_KEY = b"rankdistill.span"
_SPAN = re.compile(rb"-1|[0-9]{1,9}")
_ALL_ROWS = "everything"
"""Value of the column `entity` in the state's row with the totals over all rows."""
_WRITE_LOG_AGAIN = "Delete the event log and write it again."


class HistoryState:
    """Totals of every entity over the spans added so far.

    Its size in memory and on disk grows with the number of entities, not with the number of impressions.
    """

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._totals = HistoryTotals(settings)
        self._ids: dict[str, pa.Array] = {
            entity: pa.array([], type=pa.string()) for entity in settings.entities
        }

    @property
    def span(self) -> int:
        """The last span added, -1 if there is none."""
        return self._totals.span

    def features(self, table: pa.Table) -> pa.Table:
        """The history columns of a table's rows, computed only from the spans added so far.

        Args:
            table: has the id columns of all entities, string or dictionary of string, nullable.

        Returns:
            `[rows]` with the columns of the settings, float32, never null. A new entity or a null id has
            count 0 and the label means over all rows.
        """
        priors = self._totals.priors()
        columns = []
        for entity, column in self._settings.entities.items():
            ids, codes = _unique_ids(table, column)
            # The last entry stands for a new entity. The code -1 of a null id selects this last entry.
            indices = np.append(_index_in(ids, self._ids[entity]), -1)
            features = self._totals.entities[entity].features(indices, priors)
            columns += [pa.array(feature[codes]) for feature in features]
        return pa.Table.from_arrays(columns, schema=self._settings.columns)

    def add_span(self, span: int, table: pa.Table) -> None:
        """Adds the fresh rows of one whole span.

        Args:
            span: the number of the span: the last added span plus 1.
            table: the span's fresh rows, with the id columns and the labels of the tasks. A null
                label is missing.

        Raises:
            ValueError: if `span` is not the next span, or the table has rows of other spans; these rows
                would be added twice.
        """
        if (
            IMPRESSION_SPAN in table.column_names
            and not pc.all(pc.equal(table[IMPRESSION_SPAN], span), min_count=0).as_py()
        ):
            raise ValueError(
                f"history: every row must have {IMPRESSION_SPAN} {span}, got other spans too. "
                "Add only fresh rows."
            )
        labels = {
            task: table[LABEL_PREFIX + task].to_numpy().astype(np.float64, copy=False)
            for task in self._settings.tasks
        }
        extended_ids, indices = {}, {}
        for entity, column in self._settings.entities.items():
            ids, codes = _unique_ids(table, column)
            new_ids = ids.filter(pc.invert(pc.is_in(ids, value_set=self._ids[entity])))
            extended_ids[entity] = pa.concat_arrays([self._ids[entity], new_ids])
            indices[entity] = np.append(_index_in(ids, extended_ids[entity]), -1)[codes]
        self._totals.add_span(span, indices, labels)
        self._ids = extended_ids

    def save(self, folder: Path) -> None:
        """Writes the state to `folder` atomically: if the writer is killed, the previous state remains."""
        schema = _state_schema(self._settings)
        parts = [_state_rows(schema, _ALL_ROWS, pa.array([""]), self._totals.all_rows)]
        for entity, totals in self._totals.entities.items():
            parts.append(_state_rows(schema, entity, self._ids[entity], totals))
        table = pa.concat_tables(parts).replace_schema_metadata({_SPAN_KEY: str(self.span).encode()})
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{STATE_FILE}.{os.getpid()}"
        write_table(table, temporary)
        temporary.replace(folder / STATE_FILE)

    @classmethod
    def load(cls, folder: Path, settings: HistorySettings) -> HistoryState:
        """Reads the state that was last saved in `folder`; returns an empty state if there is none.

        Raises:
            BadInput: if the file is not a history state of these entities and tasks.
        """
        state = cls(settings)
        path = folder / STATE_FILE
        if not path.exists():
            return state
        table = _read_state(path, settings)
        state._totals.span = int(table.schema.metadata[_SPAN_KEY])
        state._totals.all_rows = _totals_from_rows(
            table.filter(pc.equal(table["entity"], _ALL_ROWS)), settings
        )
        for entity in settings.entities:
            rows = table.filter(pc.equal(table["entity"], entity))
            state._ids[entity] = rows["id"].combine_chunks()
            state._totals.entities[entity] = _totals_from_rows(rows, settings)
        return state


def _unique_ids(table: pa.Table, column: str) -> tuple[pa.Array, Array]:
    """The distinct ids in a column without null, and per row the index of its id, -1 for null."""
    ids = table[column].cast(pa.string()).combine_chunks().dictionary_encode()
    return ids.dictionary, ids.indices.fill_null(-1).to_numpy()


def _index_in(ids: pa.Array, value_set: pa.Array) -> Array:
    """`[ids]` int: the index of each id in `value_set`, -1 for an id that `value_set` lacks."""
    return pc.index_in(ids, value_set=value_set).fill_null(-1).to_numpy()


def _state_schema(settings: HistorySettings) -> pa.Schema:
    """The columns of the state file."""
    sums = [pa.field(f"{kind}_{task}", pa.float64()) for kind in ("sum", "count") for task in settings.tasks]
    names = [pa.field("entity", pa.string()), pa.field("id", pa.string())]
    return pa.schema([*names, pa.field("impressions", pa.float64()), *sums])


def _state_rows(schema: pa.Schema, entity: str, ids: pa.Array, totals: EntityTotals) -> pa.Table:
    """The rows of one kind of entity in the state file, see `_state_schema`."""
    columns = [pa.array([entity] * len(ids), type=pa.string()), ids, pa.array(totals.impressions)]
    columns += [pa.array(row) for row in (*totals.sums, *totals.counts)]
    return pa.Table.from_arrays(columns, schema=schema)


def _totals_from_rows(rows: pa.Table, settings: HistorySettings) -> EntityTotals:
    """The inverse of `_state_rows`."""
    totals = EntityTotals(settings, rows.num_rows)
    totals.impressions = rows["impressions"].to_numpy().copy()
    totals.sums = np.stack([rows[f"sum_{task}"].to_numpy() for task in settings.tasks])
    totals.counts = np.stack([rows[f"count_{task}"].to_numpy() for task in settings.tasks])
    return totals


def _read_state(path: Path, settings: HistorySettings) -> pa.Table:
    """Reads and checks a state file."""
    try:
        table = read_table(path)
        table.validate(full=True)
        names = table.schema.names
    # UnicodeDecodeError: the name of a column is not UTF-8.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "unreadable history state", where=str(path), got=str(error), fix=_WRITE_LOG_AGAIN,
            expected="the Parquet file that an earlier run saved",
        ) from error  # fmt: skip
    schema = _state_schema(settings)
    if not table.schema.equals(schema) or _SPAN_KEY not in (table.schema.metadata or {}):
        raise BadInput(
            "history state of another format", where=str(path), fix=_WRITE_LOG_AGAIN,
            expected=f"columns {', '.join(schema.names)} and the span",
            got=f"columns {', '.join(names)}",
        )  # fmt: skip
    span = table.schema.metadata[_SPAN_KEY]
    num_totals = pc.sum(pc.equal(table["entity"], _ALL_ROWS)).as_py() or 0
    num_nulls = sum(column.null_count for column in table.columns)
    if not _SPAN.fullmatch(span) or num_totals != 1 or num_nulls:
        raise BadInput(
            "damaged history state", where=str(path), fix=_WRITE_LOG_AGAIN,
            expected=f"the number of a span, one row with entity {_ALL_ROWS} and no null",
            got=f"span {span[:20]!r}, {num_totals} rows with this entity and {num_nulls} nulls",
        )  # fmt: skip
    return table
