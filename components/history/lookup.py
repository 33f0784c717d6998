"""Adds the history columns to rows: looks up the totals of the ids of the rows, and joins them.

Only the spans before the span of a row's impression count. So a matured row has the same history as the fresh
row of its impression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.history.settings import (
    AGES_TYPE,
    COUNT,
    ITEMS_TYPE,
    NUMBER_TYPE,
    history_column,
    sequence_columns,
)
from components.history.state import HistoryState, build_here, plan_build
from components.history.totals import (
    ALL_ROWS,
    ID,
    IMPRESSIONS,
    add_up,
    as_array,
    ids_of_rows,
    shards_of_ids,
    stored_columns,
    task_columns,
)
from eventlog.parquet_files import read_table
from eventlog.rows import EVENT_TIME_MS, IMPRESSION_SPAN

Array = Any
Question = tuple[int, str, int]
"""Impression span, entity and shard. One worker looks up all ids of a question in the same files."""
Answered = tuple[Question, pa.Table]
"""A question with its answer, see `Lookup.answer`."""

_MS_PER_HOUR = 3_600_000.0


@dataclasses.dataclass(frozen=True)
class Lookup:
    """Looks up the history of rows in the files of a state.

    Attributes:
        state: the state, with all blocks that the history of the rows needs.
        priors: impression span → mean label of each task over all rows that count for this span; 0 without
            labels.
    """

    state: HistoryState
    priors: Mapping[int, tuple[float, ...]]

    def questions(self, rows: pa.Table) -> Iterator[tuple[Question, pa.Array]]:
        """Yields each question with its ids: the distinct ids of some rows, as text."""
        history = self.state.history
        for span, where in _spans_of(rows):
            selected = rows.filter(pa.array(where))
            for entity, column in history.entities.items():
                ids = ids_of_rows(selected[column])[1].unique()
                shards = shards_of_ids(ids, history.shards)
                for shard in np.unique(shards).tolist():
                    yield (span, entity, shard), ids.filter(pa.array(shards == shard))

    def answer(self, question: Question, ids: pa.Array) -> pa.Table:
        """The features of those ids that have a history.

        Returns:
            Column `id`; float32 `impressions`, log1p of their number, and `mean_<task>`, the smoothed mean
            label; per sequence its items and their times, newest first.
        """
        span, entity, _ = question
        history, totals = self.state.history, self._totals(question, ids)
        columns: dict[str, Any] = {ID: as_array(totals[ID])}
        columns[IMPRESSIONS] = np.log1p(totals[IMPRESSIONS].to_numpy()).astype(np.float32)
        for task, prior in zip(history.tasks, self.priors[span], strict=True):
            known, total = (totals[name].to_numpy() for name in task_columns(task))
            strength = history.prior_strength
            means = (total + strength * prior) / (known + strength)
            columns[_mean_column(task)] = means.astype(np.float32)
        for name in history.sequences_of(entity):
            for column in stored_columns(name):
                columns[column] = _reversed_lists(as_array(totals[column]))
        return pa.table(columns)

    def answer_all(self, rows: pa.Table) -> Iterator[Answered]:
        """Yields the answers to all questions of some rows, looked up in this process."""
        for question, ids in self.questions(rows):
            yield question, self.answer(question, ids)

    def _totals(self, question: Question, ids: pa.Array) -> pa.Table:
        span, entity, shard = question
        blocks = self.state.blocks_before(span)
        tables = []
        for block in blocks:
            table = read_table(self.state.file(block, entity, shard))
            tables.append(select_ids(table, ids))
        weights = [self.state.weight(block, span) for block in blocks]
        return add_up(tables, self.state.history, entity, weights)

    def num_bytes(self, spans: Iterable[int]) -> int:
        """The size of the files with the history of these impression spans."""
        return self.state.num_bytes(block for span in spans for block in self.state.blocks_before(span))

    def add_columns(self, rows: pa.Table, answers: Iterable[Answered]) -> pa.Table:
        """Adds the columns `History.produced` to rows.

        Args:
            rows: rows of the log, with the columns of ids, the time and the impression span.
            answers: the answers to all questions of these rows; further ids are ignored.
        """
        answers_of: dict[tuple[int, str], list[pa.Table]] = {}
        for (span, entity, _), answer in answers:
            answers_of.setdefault((span, entity), []).append(answer)
        spans = list(_spans_of(rows))
        features: dict[str, Any] = {}
        for entity in self.state.history.entities:
            tables = {span: answers_of[span, entity] for span, _ in spans if (span, entity) in answers_of}
            features |= self._features(rows, entity, spans, tables)
        for field in self.state.history.produced:
            rows = rows.append_column(field, features[field.name])
        return rows

    def _features(
        self,
        rows: pa.Table,
        entity: str,
        spans: Iterable[tuple[int, Array]],
        tables: Mapping[int, list[pa.Table]],
    ) -> dict[str, Any]:
        """The columns of one entity: name → `[rows]` array."""
        history = self.state.history
        names = [history_column(entity, name) for name in (COUNT, *history.tasks)]
        numbers = np.zeros((len(names), rows.num_rows), np.float32)
        # For each row, the row of its id in the concatenated `found`; -1 if the id has no history.
        positions = np.full(rows.num_rows, -1)
        found: list[pa.Table] = []
        num_found = 0
        for span, where in spans:
            column = rows.filter(pa.array(where))[history.entities[entity]]
            table = pa.concat_tables(tables[span]) if span in tables else None
            numbers[:, where], own = self._numbers(column, span, table)
            if table is not None:
                positions[where] = np.where(own < 0, -1, own + num_found)
                num_found += table.num_rows
                found.append(table)
        features: dict[str, Any] = dict(zip(names, map(pa.array, numbers), strict=True))
        for name in history.sequences_of(entity):
            columns = stored_columns(name)
            lists = [pa.concat_tables(found)[column] for column in columns] if found else None
            features |= _sequence_features(name, rows[EVENT_TIME_MS].to_numpy(), positions, lists)
        return features

    def _numbers(self, column: pa.ChunkedArray, span: int, found: pa.Table | None) -> tuple[Array, Array]:
        """`[1 + tasks, rows]` float32 count and means; `[rows]` int rows of `found`, -1 without history."""
        history = self.state.history
        default = np.array([0.0, *self.priors[span]])[:, None]
        row_of_pair, ids = ids_of_rows(column)
        if found is None:
            indices, values = np.full(len(ids), -1), default
        else:
            indices = pc.index_in(ids, value_set=as_array(found[ID])).fill_null(-1).to_numpy()
            names = [IMPRESSIONS, *map(_mean_column, history.tasks)]
            # The index -1 of an id without history selects the last column.
            values = np.hstack([np.stack([found[name].to_numpy() for name in names]), default])
        num_ids = np.bincount(row_of_pair, minlength=len(column))
        sums = np.stack([np.bincount(row_of_pair, row[indices], len(column)) for row in values])
        means = np.where(num_ids > 0, sums / np.maximum(num_ids, 1), default)
        positions = np.full(len(column), -1)
        positions[row_of_pair] = indices
        return means.astype(np.float32), positions


def open_lookup(state: HistoryState, spans: Iterable[int]) -> Lookup:
    """The lookup for rows with impressions of these spans; every block of their history must be published."""
    priors = {}
    for span in spans:
        blocks = state.blocks_before(span)
        tables = [read_table(state.file(block, ALL_ROWS, 0)) for block in blocks]
        totals = add_up(tables, state.history, ALL_ROWS, [state.weight(block, span) for block in blocks])
        sums = {name: sum(totals[name].to_pylist()) for name in totals.column_names if name != ID}
        known_and_total = ([sums[name] for name in task_columns(task)] for task in state.history.tasks)
        priors[span] = tuple(total / known if known else 0.0 for known, total in known_and_total)
    return Lookup(state, priors)


def complete_here(state: HistoryState, spans: Iterable[int]) -> Lookup:
    """Computes the missing blocks for these impression spans in this process; returns their lookup."""
    spans = list(spans)
    build = plan_build(state, spans)
    if build is not None:
        build_here(build)
    return open_lookup(state, spans)


def add_history(lookup: Lookup, rows: pa.Table) -> pa.Table:
    """Adds the history columns in this process, without Beam."""
    return lookup.add_columns(rows, lookup.answer_all(rows))


def select_ids(table: pa.Table, ids: pa.Array) -> pa.Table:
    """The rows of an answer, or of totals, with one of these ids."""
    return table.filter(pc.is_in(table[ID], value_set=ids))


def _mean_column(task: str) -> str:
    return f"mean_{task}"


def _spans_of(rows: pa.Table) -> Iterator[tuple[int, Array]]:
    """Yields the impression spans of rows, ascending, with the mask of their rows, `[rows]` bool."""
    spans = rows[IMPRESSION_SPAN].to_numpy()
    for span in np.unique(spans).tolist():
        yield span, spans == span


def _reversed_lists(lists: pa.Array) -> pa.Array:
    """The lists with their items in reverse order."""
    values, owners = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    order = np.lexsort((-np.arange(len(owners)), owners))
    counts = np.bincount(owners, minlength=len(lists))
    return _lists(counts, values.take(pa.array(order, pa.int64())))


def _sequence_features(
    name: str, row_times: Array, positions: Array, found: list[pa.ChunkedArray] | None
) -> dict[str, pa.Array]:
    """The three columns of a sequence; null in a row without an earlier item.

    Args:
        name: name of the sequence.
        row_times: `[rows]` int64 milliseconds.
        positions: `[rows]` int row of `found`; -1 for an id without history.
        found: lists of items and of their times, newest first; None without any answer.
    """
    names = sequence_columns(name)
    if found is None:
        kinds = (ITEMS_TYPE, AGES_TYPE, NUMBER_TYPE)
        return {column: pa.nulls(len(row_times), kind) for column, kind in zip(names, kinds, strict=True)}
    chosen = pa.array(positions, pa.int64(), mask=positions < 0)
    items, times = (as_array(column).take(chosen) for column in found)
    counts = pc.fill_null(pc.list_value_length(times), 0).to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(row_times)), counts)
    flat_times = pc.list_flatten(times).to_numpy()
    hours = np.maximum(row_times[owners] - flat_times, 0) / _MS_PER_HOUR
    ages = np.floor(np.log2(1.0 + hours)).astype(np.int64)
    empty = counts == 0
    newest = np.zeros(len(row_times))
    newest[~empty] = hours[(np.cumsum(counts) - counts)[~empty]]
    return dict(
        zip(
            names,
            (
                _lists(counts, pc.list_flatten(items), empty),
                _lists(counts, pa.array(ages), empty),
                pa.array(newest, NUMBER_TYPE, mask=empty),
            ),
            strict=True,
        )
    )


def _lists(counts: Array, values: pa.Array, empty: Array | None = None) -> pa.Array:
    """Lists with these numbers of values; null where `empty` (`[lists]` bool) is True."""
    # A list is null if its first offset is null.
    mask = None if empty is None else np.append(empty, False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32(), mask=mask)
    return pa.ListArray.from_arrays(offsets, values)
