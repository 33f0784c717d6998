"""Writes KuaiRand's impressions as an event log, one span per day, and extends the log by later days."""

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
from eventlog.kuairand_source import BATCH_ROWS, DRAWN_AT_RANDOM, MEMORY_LIMIT, KuaiRandSource
from eventlog.parquet_files import open_dataset
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

_RECORD_FILE = "_log.json"
_HISTORY_FOLDER = "_history"
_DAY = datetime.timedelta(days=1)


def write_kuairand(source: Path, out: Path, on_span: Callable[[int, int], None] | None = None) -> int:
    """Converts KuaiRand to spans of the log; does not change spans that the log already holds.

    Span 0 is the first day ever converted into `out`, by the column `date` of the source. `_log.json` records
    this day, so that a later run continues the numbering. Delayed labels and history are computed from the
    log: `source` need not hold the earlier days. The log guarantees: nothing in span N depends on a label of
    a later span, and no history feature of span N depends on a label of N.

    Args:
        source: a folder in the official layout (Pure, 1K or 27K; `.csv` or `.csv.gz`).
        out: the log's folder, created if it is missing.
        on_span: called with span and number of rows after each span written.

    Returns:
        The number of spans written.

    Raises:
        BadInput: if files or columns are missing or unreadable, or a day between others is missing. Also if
            the log in `out` is of another source, or begins after the source.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".kuairand-") as workspace:
        reader = KuaiRandSource(source, Path(workspace))
        try:
            missing_days = _days_to_write(reader.dates(), source, out)
            history = _current_history(out)
            for span, date in missing_days:
                num_rows = write_span(out, span, _span_tables(reader, history, out, span, date))
                _add_to_history(history, out, span)
                if on_span is not None:
                    on_span(span, num_rows)
        finally:
            reader.close()
    return len(missing_days)


def _matured_rows(log: Path, span: int) -> Iterator[pa.Table]:
    """The matured rows of `span`: the fresh rows of `span - MATURITY_SPANS` with their E(LTV) label.

    `label_ltv` is log1p of the seconds that the row's user watched in the LTV_WINDOW_SPANS spans after the
    row's span. Immediate labels are null; all other columns equal the fresh row's.

    Args:
        log: a log that holds all spans before `span`.
        span: the span to be written.

    Yields:
        Tables of the log's columns in order of `event_time_ms`; nothing if no window has closed yet.
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
    # A span is in order of time, so the older matured rows come first.
    yield from _matured_rows(log, span)
    random_ids: list[pa.Array] = []
    for table in reader.rows(date, span):
        random_ids += table.filter(table[DRAWN_AT_RANDOM])[EXAMPLE_ID].chunks
        features = history.features(table)
        yield pa.Table.from_arrays(
            table.columns + features.columns, names=table.column_names + features.column_names
        )
    # Written before the span is complete, so that every complete span has its random exposures.
    write_random_exposures(log, span, pa.chunked_array(random_ids, pa.string()).combine_chunks())


def _fresh_rows(log: Path, spans: range, columns: list[str] | None = None) -> Any:
    """A scanner of the fresh rows of consecutive spans."""
    files = [str(file) for span in spans for file in span_files(log, span)]
    # The filter drops the matured rows: their impressions lie in spans before the first one.
    return open_dataset(files).scanner(columns=columns, filter=pc.field(IMPRESSION_SPAN) >= spans.start)


def _add_to_history(history: HistoryState, log: Path, span: int) -> None:
    columns = [f"{entity}_id" for entity in HISTORY_ENTITIES]
    columns += [LABEL_PREFIX + task for task in IMMEDIATE_TASKS]
    history.add_span(span, _fresh_rows(log, range(span, span + 1), columns).to_table())
    history.save(log / _HISTORY_FOLDER)


def _current_history(log: Path) -> HistoryState:
    """The log's history; first adds complete spans that a killed run has not added."""
    history = HistoryState.load(log / _HISTORY_FOLDER)
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
    return complete_spans(log)[-1] if any(log.glob("span=*/_SUCCESS")) else -1


def _days_to_write(dates: list[datetime.date], source: Path, out: Path) -> list[tuple[int, datetime.date]]:
    """The missing spans with their days; records the first day of a new log."""
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
    (out / _RECORD_FILE).write_text(json.dumps(record) + "\n")
    return list(enumerate(new_dates, start=last + 1))


def _recorded_first_date(out: Path, first_date: datetime.date, last: int) -> datetime.date:
    path = out / _RECORD_FILE
    if not path.exists() and last < 0:
        return first_date
    try:
        record = json.loads(path.read_text())
        if record["source"] != "kuairand":
            raise KeyError(record["source"])
        if last < 0:
            return first_date
        recorded = datetime.date.fromisoformat(record["first_date"])
        _ = recorded + (last + 1) * _DAY  # A date after the year 9999 cannot be computed with.
        return recorded
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadInput(
            "not a log of KuaiRand", where=str(out), expected=f"a new folder, or a log with {_RECORD_FILE}",
            got=f"{type(error).__name__} {error}", fix="Write into another folder.",
        ) from error  # fmt: skip
