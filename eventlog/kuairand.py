"""KuaiRand's impressions as an event log: a span a day, extended by later days."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from eventlog.errors import BadInput
from eventlog.history import HistoryState
from eventlog.kuairand_source import BATCH_ROWS, DRAWN_AT_RANDOM, MEMORY_LIMIT, KuaiRandSource
from eventlog.random_exposures import write_random_exposures
from eventlog.rows import (
    EXAMPLE_ID,
    HISTORY_ENTITIES,
    IMMEDIATE_TASKS,
    IMPRESSION_SPAN,
    LABEL_PREFIX,
    LTV_WINDOW_SPANS,
    MATURITY_SPANS,
)
from eventlog.spans import complete_spans, span_files, write_span

RECORD = "_log.json"
HISTORY_FOLDER = "_history"
_DAY = datetime.timedelta(days=1)


def write_kuairand(source: Path, out: Path, on_span: Callable[[int, int], None] | None = None) -> int:
    """Converts KuaiRand to spans of the log; days that the log already holds are left as they are.

    Span 0 is the first day ever converted into `out` (by the log files' own `date`), recorded in RECORD, so
    that days added later keep the count. Delayed labels and history come from the log itself: `source` need
    not hold the days before. Promise of the log: nothing in span N depends on a label of a later span,
    and no history feature of span N on a label of N.

    Args:
        source: a folder in the official layout (Pure, 1K or 27K; `.csv` or `.csv.gz`).
        out: the log's folder, made if it is missing.
        on_span: called with span and number of rows after each span written.

    Returns:
        The number of spans written.

    Raises:
        BadInput: if files or columns are missing or unreadable, days are missing in the middle, or `out`
            holds another source's log or a later one.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".kuairand-") as workspace:
        reader = KuaiRandSource(source, Path(workspace))
        try:
            todo = _days_to_write(reader.dates(), source, out)
            state = _caught_up(out)
            for span, date in todo:
                num_rows = write_span(out, span, _span_tables(reader, state, out, span, date))
                _absorb(state, out, span)
                if on_span is not None:
                    on_span(span, num_rows)
        finally:
            reader.close()
    return len(todo)


def matured_rows(log: Path, span: int) -> Iterator[pa.Table]:
    """The rows of span `span - MATURITY_SPANS` again, now with their E(LTV) label.

    `label_ltv` is log1p of the seconds that the row's user watched in the LTV_WINDOW_SPANS spans after the
    row's own. Features and history are what they were in the fresh row; immediate labels are null.

    Args:
        log: a log that holds all spans before `span`.
        span: the span to be written.

    Yields:
        Tables of the log's columns in order of `event_time_ms`; none while no window has closed.
    """
    impression_span = span - MATURITY_SPANS
    if impression_span < 0:
        return
    window = range(impression_span + 1, impression_span + 1 + LTV_WINDOW_SPANS)
    labels = ", ".join(f"CAST(NULL AS FLOAT) AS {LABEL_PREFIX}{task}" for task in IMMEDIATE_TASKS)
    # Whole milliseconds, as in the source: their sum does not depend on the order of addition.
    query = f"""
    WITH watched AS (
      SELECT cluster_id, sum(CAST(round((exp(CAST(label_watch_time AS DOUBLE)) - 1) * 1000) AS BIGINT)) AS ms
      FROM later WHERE label_watch_time IS NOT NULL GROUP BY cluster_id
    )
    SELECT rows.* REPLACE (
      {labels}, CAST(ln(1 + coalesce(watched.ms, 0) / 1000.0) AS FLOAT) AS label_ltv
    )
    FROM rows LEFT JOIN watched USING (cluster_id)
    ORDER BY event_time_ms, example_id
    """
    with (
        tempfile.TemporaryDirectory(dir=log, prefix=".matured-") as spill,
        duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill}) as connection,
    ):
        connection.register("rows", _fresh_rows(log, range(impression_span, impression_span + 1)))
        connection.register("later", _fresh_rows(log, window, ["cluster_id", "label_watch_time"]))
        for batch in connection.execute(query).fetch_record_batch(BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _span_tables(
    reader: KuaiRandSource, state: HistoryState, out: Path, span: int, date: datetime.date
) -> Iterator[pa.Table]:
    # Matured rows first: they are the older ones, and the span is in order of time.
    yield from matured_rows(out, span)
    random = []
    for table in reader.rows(date, span):
        random.append(table.filter(table[DRAWN_AT_RANDOM])[EXAMPLE_ID])
        history = state.features(table)
        yield pa.Table.from_arrays(
            table.columns + history.columns, names=table.column_names + history.column_names
        )
    # Before the span is complete, so that no complete one lacks them.
    ids = [chunk for column in random for chunk in column.chunks]
    write_random_exposures(out, span, pa.concat_arrays(ids) if ids else pa.array([], pa.string()))


def _fresh_rows(log: Path, spans: range, columns: list[str] | None = None) -> Any:
    """A scanner of the fresh rows of consecutive spans."""
    files = [str(file) for span in spans for file in span_files(log, span)]
    # Their files also hold matured rows, all of spans before the first of these.
    return ds.dataset(files).scanner(columns=columns, filter=ds.field(IMPRESSION_SPAN) >= spans.start)


def _absorb(state: HistoryState, log: Path, span: int) -> None:
    columns = [f"{entity}_id" for entity in HISTORY_ENTITIES] + [
        LABEL_PREFIX + task for task in IMMEDIATE_TASKS
    ]
    files = [str(file) for file in span_files(log, span)]
    table = ds.dataset(files).to_table(columns=columns, filter=ds.field(IMPRESSION_SPAN) == span)
    state.absorb(span, table)
    state.save(log / HISTORY_FOLDER)


def _caught_up(log: Path) -> HistoryState:
    """The log's history state, up to the last complete span: a killed run may have stopped between."""
    state = HistoryState.load(log / HISTORY_FOLDER)
    last = _last_span(log)
    if state.span > last:
        raise BadInput(
            "history is ahead of the log",
            where=str(log / HISTORY_FOLDER),
            expected=f"history of spans up to {last}",
            got=f"up to {state.span}",
            fix="Delete the event log and write it anew.",
        )
    for span in range(state.span + 1, last + 1):
        _absorb(state, log, span)
    return state


def _last_span(log: Path) -> int:
    return complete_spans(log)[-1] if any(log.glob("span=*/_SUCCESS")) else -1


def _days_to_write(dates: list[datetime.date], source: Path, out: Path) -> list[tuple[int, datetime.date]]:
    """Spans yet to be written with their days; records the first day of a new log."""
    if not dates:
        raise BadInput(
            "no impressions",
            where=str(source),
            expected="rows in the log files",
            got="none",
            fix="Download the files again.",
        )
    last = _last_span(out)
    first_date = _recorded_first_date(out, dates[0], last)
    next_date = first_date + (last + 1) * _DAY
    todo = [date for date in dates if date >= next_date]
    expected = [next_date + day * _DAY for day in range(len(todo))]
    gaps = [day for date, day in zip(todo, expected, strict=True) if date != day]
    if gaps or dates[0] < first_date:
        raise BadInput(
            "span gap" if gaps else "the source begins before the log",
            where=str(source),
            expected=f"impressions of every day from {gaps[0] if gaps else first_date}",
            got=f"none on {gaps[0]}" if gaps else f"the first on {dates[0]}",
            fix="Add the missing log files, or write a new log.",
        )
    record = {"source": "kuairand", "first_date": first_date.isoformat()}
    (out / RECORD).write_text(json.dumps(record) + "\n")
    return [(last + 1 + position, date) for position, date in enumerate(todo)]


def _recorded_first_date(out: Path, first_date: datetime.date, last: int) -> datetime.date:
    path = out / RECORD
    if not path.exists() and last < 0:
        return first_date
    try:
        record = json.loads(path.read_text())
        if record["source"] != "kuairand":
            raise KeyError(record["source"])
        return datetime.date.fromisoformat(record["first_date"]) if last >= 0 else first_date
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "not a log of KuaiRand",
            where=str(out),
            expected=f"a new folder, or a log with {RECORD}",
            got=f"{type(error).__name__} {error}",
            fix="Write into another folder.",
        ) from error
