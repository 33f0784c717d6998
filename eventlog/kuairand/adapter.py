"""Writes KuaiRand's impressions as an event log, one span per day, and adds later days to an existing log."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.errors import BadInput
from eventlog.history import HistoryState
from eventlog.kuairand.columns import (
    HISTORY,
    IMMEDIATE_TASKS,
    LOG_SCHEMA,
    LTV_DELAY,
    LTV_WINDOW_SPANS,
)
from eventlog.kuairand.source import BATCH_ROWS, DRAWN_AT_RANDOM, MEMORY_LIMIT, KuaiRandSource
from eventlog.parquet_files import open_dataset
from eventlog.random_exposures import write_random_exposures
from eventlog.rows import EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.spans import complete_spans, span_files, write_span

_RECORD_FILE = "_log.json"
_HISTORY_FOLDER = "_history"
_DAY = datetime.timedelta(days=1)


def write_kuairand(source: Path, out: Path, on_span: Callable[[int, int], None] | None = None) -> int:
    """Writes the days of KuaiRand that the log does not have yet; complete spans never change.

    Span 0 is the first day that was ever written to `out`, by the column `date` of the source. `_log.json`
    records this day, so that a later run continues the numbering. Delayed labels and history are computed
    from the log, so `source` may lack the earlier days. Nothing in span N depends on a label of a later span.
    No history feature of span N depends on a label of span N.

    Args:
        source: a folder in the official layout (Pure, 1K or 27K; `.csv` or `.csv.gz`).
        out: the log's folder, created if it is missing.
        on_span: called with (span, number of rows) after each span is written.

    Returns:
        The number of spans written.

    Raises:
        BadInput: if files or columns are missing or unreadable, or a day is missing between other days. Also
            if the log in `out` has another source or a damaged history, or the source has a day before the
            log's first day.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".kuairand-") as workspace:
        reader = KuaiRandSource(source, Path(workspace))
        try:
            new_days = _days_to_write(reader.dates(), source, out)
            history = _current_history(out)
            for span, date in new_days:
                tables = _span_tables(reader, history, out, span, date)
                num_rows = write_span(out, span, tables, schema=LOG_SCHEMA)
                _add_to_history(history, out, span)
                if on_span is not None:
                    on_span(span, num_rows)
        finally:
            reader.close()
    return len(new_days)


def _matured_rows(log: Path, span: int) -> Iterator[pa.Table]:
    """Computes the matured rows of `span`: the fresh rows of `span - LTV_DELAY` with their E(LTV) label.

    `label_ltv` is log1p of the seconds that the user watched in the LTV_WINDOW_SPANS spans after the
    impression's span. Immediate labels are null; all other columns equal those of the fresh row.

    Args:
        log: a log that holds all spans before `span`.
        span: the span to be written.

    Yields:
        Tables with the log's columns in order of `event_time_ms`; none if `span` is below LTV_DELAY.
    """
    impression_span = span - LTV_DELAY
    if impression_span < 0:
        return
    window = range(impression_span + 1, impression_span + 1 + LTV_WINDOW_SPANS)
    labels = ", ".join(f"CAST(NULL AS FLOAT) AS {LABEL_PREFIX}{task}" for task in IMMEDIATE_TASKS)
    # Sums whole milliseconds, because a sum of integers does not depend on the order of the rows.
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
    """  # noqa: S608 - only constants
    with (
        tempfile.TemporaryDirectory(dir=log, prefix=".matured-") as spill,
        duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill}) as connection,
    ):
        connection.register("rows", _fresh_rows(log, range(impression_span, impression_span + 1)))
        connection.register("later", _fresh_rows(log, window, ["cluster_id", "label_watch_time"]))
        for batch in connection.execute(query).to_arrow_reader(BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _span_tables(
    reader: KuaiRandSource, history: HistoryState, log: Path, span: int, date: datetime.date
) -> Iterator[pa.Table]:
    """The rows of one span in order of time; also writes its random exposures."""
    # Matured rows are older than fresh rows, so they come first.
    yield from _matured_rows(log, span)
    random_ids: list[pa.Array] = []
    for table in reader.rows(date, span):
        random_ids += table.filter(table[DRAWN_AT_RANDOM])[EXAMPLE_ID].chunks
        features = history.features(table)
        yield pa.Table.from_arrays(
            table.columns + features.columns, names=table.column_names + features.column_names
        )
    # This line runs before the span is complete, so every complete span has its random exposures.
    write_random_exposures(log, span, pa.chunked_array(random_ids, pa.string()).combine_chunks())


def _fresh_rows(log: Path, spans: range, columns: list[str] | None = None) -> Any:
    """An Arrow scanner of the fresh rows of consecutive spans."""
    files = [str(file) for span in spans for file in span_files(log, span)]
    # Drops the matured rows: their impressions are LTV_DELAY spans older, and `spans` is not longer.
    return open_dataset(files).scanner(columns=columns, filter=pc.field(IMPRESSION_SPAN) >= spans.start)


def _add_to_history(history: HistoryState, log: Path, span: int) -> None:
    columns = list(HISTORY.entities.values())
    columns += [LABEL_PREFIX + task for task in IMMEDIATE_TASKS]
    history.add_span(span, _fresh_rows(log, range(span, span + 1), columns).to_table())
    history.save(log / _HISTORY_FOLDER)


def _current_history(log: Path) -> HistoryState:
    """Loads the log's history, and adds the complete spans that a killed run has not added to it."""
    history = HistoryState.load(log / _HISTORY_FOLDER, HISTORY)
    last = _last_span(log)
    if history.span > last:
        raise BadInput(
            "history is ahead of the log", where=str(log / _HISTORY_FOLDER),
            expected=f"history of spans up to {last}", got=f"up to {history.span}",
            fix="Delete the event log and write it again.",
        )  # fmt: skip
    for span in range(history.span + 1, last + 1):
        _add_to_history(history, log, span)
    return history


def _last_span(log: Path) -> int:
    """The last complete span of a log, -1 if it has none."""
    return complete_spans(log)[-1] if any(log.glob("span=*/_SUCCESS")) else -1


def _days_to_write(dates: list[datetime.date], source: Path, out: Path) -> list[tuple[int, datetime.date]]:
    """The (span, day) pairs to write. Also writes `_log.json`."""
    if not dates:
        raise BadInput(
            "no impressions", where=str(source), expected="rows in the log files", got="none",
            fix="Download the files again.",
        )  # fmt: skip
    last = _last_span(out)
    first_date = _recorded_first_date(out, dates[0], last)
    next_date = first_date + (last + 1) * _DAY
    new_dates = [date for date in dates if date >= next_date]
    expected_dates = [next_date + day * _DAY for day in range(len(new_dates))]
    gaps = [expected for date, expected in zip(new_dates, expected_dates, strict=True) if date != expected]
    if gaps or dates[0] < first_date:
        raise BadInput(
            "span gap" if gaps else "the source begins before the log", where=str(source),
            expected=f"impressions of every day from {gaps[0] if gaps else first_date}",
            got=f"none on {gaps[0]}" if gaps else f"the first on {dates[0]}",
            fix="Add the missing log files, or write a new log.",
        )  # fmt: skip
    record = {"source": "kuairand", "first_date": first_date.isoformat()}
    partial = out / f"{_RECORD_FILE}.partial"
    partial.write_text(json.dumps(record) + "\n")
    partial.replace(out / _RECORD_FILE)
    return list(enumerate(new_dates, start=last + 1))


def _recorded_first_date(out: Path, source_date: datetime.date, last: int) -> datetime.date:
    """The day of span 0: the recorded day, or `source_date` if the log has no complete span."""
    path = out / _RECORD_FILE
    if not path.exists() and last < 0:
        return source_date
    try:
        record = json.loads(path.read_text())
        if record["source"] != "kuairand":
            raise KeyError(record["source"])
        if last < 0:
            return source_date
        recorded = datetime.date.fromisoformat(record["first_date"])
        _ = recorded + (last + 1) * _DAY  # Raises OverflowError if a date is after the year 9999.
        return recorded
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadInput(
            "not a log of KuaiRand", where=str(out), expected=f"a new folder, or a log with {_RECORD_FILE}",
            got=f"{type(error).__name__} {error}", fix="Write into another folder.",
        ) from error  # fmt: skip
