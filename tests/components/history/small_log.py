"""A log of four spans whose history is computed by hand in the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from components.history.lookup import complete_here
from components.history.settings import History, HistorySource, ItemSequence
from components.history.state import HistoryState, open_state
from eventlog.columns import LogColumns
from eventlog.spans import write_span

HOUR_MS = 3_600_000
FIRST_MS = 1_700_000_000_000
COLUMNS = LogColumns(
    {"click": 0, "back": 2}, {"user": pa.string(), "item": pa.string(), "tags": pa.list_(pa.string())}
)
HISTORY = History(entities={"user": "user", "item": "item"}, tasks=("click", "back"), prior_strength=2.0)
RECENT = ItemSequence(entity="user", column="item", length=2)


def row(user: str | None, item: str | None, hour: float, span: int, **values: Any) -> dict[str, Any]:
    """A row with the impression span `span`; `values` are labels and further columns."""
    return {
        "example_id": f"{span}-{user}-{item}-{hour}",
        "event_time_ms": FIRST_MS + int(hour * HOUR_MS),
        "impression_span": span,
        "surface": "home",
        "cluster_id": "c",
        "user": user,
        "item": item,
        **values,
    }


def labelled(rows: list[dict[str, Any]], **labels: list[float | None]) -> list[dict[str, Any]]:
    """The rows with the labels of the tasks."""
    for task, values in labels.items():
        rows = [one | {f"label_{task}": value} for one, value in zip(rows, values, strict=True)]
    return rows


FRESH = [
    [row("u1", "a", 0, 0), row("u1", "b", 1, 0), row("u2", "a", 2, 0)],
    [row("u1", "a", 10, 1)],
    [row("u2", "b", 12, 2)],
    [row("u1", "b", 13, 3), row("u3", "a", 14, 3)],
]
SPANS = [
    labelled(FRESH[0], click=[1, 0, None]),
    labelled(FRESH[1], click=[1]),
    [*labelled(FRESH[2], click=[0]), *labelled(FRESH[0], back=[1, 0, 1])],
    [*labelled(FRESH[3], click=[1, 0]), *labelled(FRESH[1], back=[0])],
]


def table_of(rows: list[dict[str, Any]], columns: LogColumns = COLUMNS) -> pa.Table:
    """The rows as a table of the log."""
    return pa.Table.from_pylist(rows, schema=columns.schema)


def write_log(log: Path, spans: list[list[dict[str, Any]]] = SPANS) -> Path:
    """Writes the spans."""
    for span, rows in enumerate(spans):
        write_span(log, span, [table_of(rows)])
    return log


def state_of(folder: Path, log: Path, history: History = HISTORY) -> HistoryState:
    """The state of a log under a folder, as of now."""
    return open_state(HistorySource(history=history, log=str(log), folder=str(folder)), COLUMNS)


def complete(state: HistoryState, spans: list[int]) -> HistoryState:
    """Computes the history of the spans."""
    complete_here(state, spans)
    return state
