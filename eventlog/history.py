"""History features: smoothed past rates and counts per user, video and author, up to the previous span.

They are what a serving student cannot afford (it would need a feature store) and what a teacher therefore
can truly know better. The state is kept from span to span, so that a log can be extended.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.rows import HISTORY, HISTORY_ENTITIES, IMMEDIATE_TASKS, IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.totals import EntityTotals, HistoryTotals

Array = Any

STATE_FILE = "history.parquet"
SPAN_KEY = b"rankdistill.span"
EVERYTHING = "everything"
STATE_SCHEMA = pa.schema(
    [
        pa.field("entity", pa.string()),
        pa.field("id", pa.string()),
        pa.field("impressions", pa.float64()),
        *(
            pa.field(f"{figure}_{task}", pa.float64())
            for figure in ("sum", "count")
            for task in IMMEDIATE_TASKS
        ),
    ]
)


class HistoryState:
    """What is known of every user, video and author after the spans absorbed so far.

    Its size, in memory and on disk, goes with the number of entities, not of impressions.
    """

    def __init__(self) -> None:
        self._totals = HistoryTotals()
        self._ids: dict[str, pa.Array] = {
            entity: pa.array([], type=pa.string()) for entity in HISTORY_ENTITIES
        }

    @property
    def span(self) -> int:
        """The last span absorbed, -1 when there is none."""
        return self._totals.span

    def features(self, table: pa.Table) -> pa.Table:
        """The history columns of a table's rows, from the spans absorbed and nothing else.

        Args:
            table: has `user_id`, `video_id` and `author_id`, string or dictionary of string, nullable.

        Returns:
            `[rows]`, the columns of `eventlog.rows.HISTORY`, float32 and never null: an entity never
            seen, and a null id, has count 0 and the global means.
        """
        priors = self._totals.priors()
        columns = []
        for entity in HISTORY_ENTITIES:
            ids, codes = _unique_ids(table, entity)
            places = _places(ids, self._ids[entity])
            # One entry more than ids, so that code -1 (a null id) picks the unknown entity's figures.
            figures = self._totals.entities[entity].figures(np.append(places, -1), priors)
            columns += [pa.array(figure[codes]) for figure in figures]
        return pa.Table.from_arrays(columns, schema=HISTORY)

    def absorb(self, span: int, table: pa.Table) -> None:
        """Adds the fresh rows of one whole span.

        Args:
            span: the number of the span, one more than the last.
            table: its fresh rows: the id columns, and the labels of the immediate tasks (null: missing).

        Raises:
            ValueError: if `span` is not the next one, or the table holds rows of other spans, which
                would be counted a second time.
        """
        if (
            IMPRESSION_SPAN in table.column_names
            and not pc.all(pc.equal(table[IMPRESSION_SPAN], span), min_count=0).as_py()
        ):
            raise ValueError(
                f"history: every row must have {IMPRESSION_SPAN} {span}, got others too."
                " Absorb fresh rows alone."
            )
        labels = {
            task: table[LABEL_PREFIX + task].to_numpy().astype(np.float64, copy=False)
            for task in IMMEDIATE_TASKS
        }
        found = {entity: _unique_ids(table, entity) for entity in HISTORY_ENTITIES}
        extended = {entity: _extended(self._ids[entity], ids) for entity, (ids, _) in found.items()}
        indices = {
            entity: np.append(_places(ids, extended[entity]), -1)[codes]
            for entity, (ids, codes) in found.items()
        }
        self._totals.absorb(span, indices, labels)
        self._ids = extended

    def save(self, folder: Path) -> None:
        """Writes the state to `folder`: whole or not at all, whenever it is killed."""
        parts = [_state_rows(EVERYTHING, pa.array([""]), self._totals.everything)]
        for entity in HISTORY_ENTITIES:
            parts.append(_state_rows(entity, self._ids[entity], self._totals.entities[entity]))
        table = pa.concat_tables(parts).replace_schema_metadata({SPAN_KEY: str(self.span).encode()})
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{STATE_FILE}.{os.getpid()}"
        pq.write_table(table, temporary)
        temporary.replace(folder / STATE_FILE)

    @classmethod
    def load(cls, folder: Path) -> HistoryState:
        """The state last saved in `folder`; an empty one if there is none.

        Raises:
            BadInput: if the file there is not such a state.
        """
        state = cls()
        path = folder / STATE_FILE
        if not path.exists():
            return state
        table = _read_state(path)
        state._totals.span = int(table.schema.metadata[SPAN_KEY])
        state._totals.everything = _totals_of(table.filter(pc.equal(table["entity"], EVERYTHING)))
        for entity in HISTORY_ENTITIES:
            rows = table.filter(pc.equal(table["entity"], entity))
            state._ids[entity] = rows["id"].combine_chunks()
            state._totals.entities[entity] = _totals_of(rows)
        return state


def _unique_ids(table: pa.Table, entity: str) -> tuple[pa.Array, Array]:
    """The distinct ids of a column (no null), and per row the place of its own, -1 for null."""
    column = table[f"{entity}_id"].cast(pa.string()).combine_chunks().dictionary_encode()
    return column.dictionary, column.indices.fill_null(-1).to_numpy()


def _places(ids: pa.Array, known: pa.Array) -> Array:
    """`[ids]` int: where each id lies in `known`, -1 where it does not."""
    return pc.index_in(ids, value_set=known).fill_null(-1).to_numpy()


def _extended(known: pa.Array, ids: pa.Array) -> pa.Array:
    new = ids.filter(pc.invert(pc.is_in(ids, value_set=known)))
    return pa.concat_arrays([known, new])


def _state_rows(entity: str, ids: pa.Array, totals: EntityTotals) -> pa.Table:
    columns = [pa.array([entity] * len(ids), type=pa.string()), ids, pa.array(totals.impressions)]
    columns += [pa.array(row) for row in (*totals.sums, *totals.counts)]
    return pa.Table.from_arrays(columns, schema=STATE_SCHEMA)


def _totals_of(rows: pa.Table) -> EntityTotals:
    totals = EntityTotals(rows.num_rows)
    totals.impressions = rows["impressions"].to_numpy().copy()
    totals.sums = np.stack([rows[f"sum_{task}"].to_numpy() for task in IMMEDIATE_TASKS])
    totals.counts = np.stack([rows[f"count_{task}"].to_numpy() for task in IMMEDIATE_TASKS])
    return totals


def _read_state(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            "unreadable history state",
            where=str(path),
            expected="the Parquet file that an earlier run saved",
            got=str(error),
            fix="Delete the event log and write it anew.",
        ) from error
    if not table.schema.equals(STATE_SCHEMA) or SPAN_KEY not in (table.schema.metadata or {}):
        raise BadInput(
            "history state of another version",
            where=str(path),
            expected=f"columns {', '.join(STATE_SCHEMA.names)} and the span",
            got=f"columns {', '.join(table.schema.names)}",
            fix="Delete the event log and write it anew.",
        )
    return table
