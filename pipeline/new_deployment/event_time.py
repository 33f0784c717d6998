"""Finds the column with the time of an impression, and the length of a span."""

from __future__ import annotations

import re
from typing import NamedTuple

from eventlog.errors import BadInput
from eventlog.rows import END_EVENT_MS, FIRST_EVENT_MS
from eventlog.tables.database import Database, identifier, literal
from eventlog.tables.expressions import SOURCE
from pipeline.new_deployment.table_profile import MIN_SHARE, ColumnProfile, TableProfile

_NAME = re.compile(
    r"time|date|datum|zeit|stamp|_at$|^ts$|^t$|when|day|tag$|hour|created|start", re.IGNORECASE
)
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FORMATS = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%Y%m%d%H%M%S", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y",
)  # fmt: skip
_MIN_SPANS, _MAX_SPANS = 8, 60
_NUM_COUNT_SPANS = 10
MAX_DROPPED = 0.01
"""Largest share of rows that the import may drop; written to the mapping."""


class EventTime(NamedTuple):
    """The time of an impression.

    Attributes:
        column: the column.
        unit: unit of a number; None for times and texts.
        zone: the zone of times without an offset; None if no zone is needed.
        format: format of a text; None for ISO 8601.
        sql: SQL for a timestamp in UTC.
        local: expression of the mapping for a timestamp, from which the features hour and weekday are taken.
        has_offset: whether all texts have an offset, which counts more than the zone.
        other_format: another format that fits the sample as well, such as the month before the day.
    """

    column: str
    unit: str | None
    zone: str | None
    format: str | None
    sql: str
    local: str
    other_format: str | None = None
    has_offset: bool = False


class SpanChoice(NamedTuple):
    """The spans of the log: a period or a number of rows.

    Attributes:
        by: `hour`, `day` or `week`; None for a number of rows.
        rows: number of rows of a span; None for a period.
        num_spans: number of spans.
        reason: why these spans were chosen, for a comment in the mapping.
    """

    by: str | None
    rows: int | None
    num_spans: int
    reason: str


def find_event_time(database: Database, table: TableProfile) -> EventTime:
    """The column that most likely has the time.

    Raises:
        BadInput: if no column has times.
    """
    found = []
    for position, column in enumerate(table.columns):
        time = read_as_time(database, column)
        if time is not None:
            is_named, is_time = bool(_NAME.search(column.name)), column.kind in ("time", "text")
            found.append((is_named, is_time, column.num_distinct, -position, time))
    if not found:
        names = ", ".join(column.name for column in table.columns)
        raise BadInput(
            "no column with a time", where=table.files,
            expected="times such as 2026-03-01 12:30, or numbers since 1970, in the years 1990 to 2099",
            got=f"columns {names}"[:300],
            fix="Add a column with the time of each row, or name the file with the events.",
        )  # fmt: skip
    return max(found, key=lambda entry: entry[:4])[-1]


def read_as_time(database: Database, column: ColumnProfile) -> EventTime | None:
    """How the values of a column of the source are times; None if they are none."""
    quoted = f"{SOURCE}.{identifier(column.name)}"
    if column.kind == "time":
        if column.stored_as == "TIMESTAMP WITH TIME ZONE":
            local = f"timezone('UTC', {quoted})"
            return EventTime(column.name, None, None, None, local, local)
        local = f"CAST({quoted} AS TIMESTAMP)"
        return EventTime(column.name, None, "UTC", None, local, local)
    # Large ids may lie in the range of times, but they repeat.
    is_time = _NAME.search(column.name) or column.num_distinct > column.num_rows / 2
    if (
        is_time
        and column.kind in ("integer", "number")
        and column.low is not None
        and column.high is not None
    ):
        for unit, per_second in _UNITS.items():
            first, end = (bound / 1000 * per_second for bound in (FIRST_EVENT_MS, END_EVENT_MS))
            if first <= column.low and column.high < end:
                sql = f"make_timestamp(CAST({column.sql} * {1_000_000 / per_second} AS BIGINT))"
                local = f"to_timestamp({quoted} / {per_second}.0)"
                return EventTime(column.name, unit, None, None, sql, local)
    if column.stored_as == "VARCHAR" and column.kind in ("text", "integer"):
        return _read_text_as_time(database, column, quoted)
    return None


def _read_text_as_time(database: Database, column: ColumnProfile, quoted: str) -> EventTime | None:
    tries: list[tuple[str, str | None]] = [
        (f"try_strptime({quoted}, {literal(form)})", form) for form in _FORMATS
    ]
    if column.kind == "text":
        tries.insert(0, (f"TRY_CAST({quoted} AS TIMESTAMP)", None))
    fitting = []
    for sql, form in tries:
        share = database.value(
            f"SELECT coalesce(avg(CAST({sql} IS NOT NULL AND year({sql}) BETWEEN 1990 AND 2099"  # noqa: S608
            f" AS INTEGER)), 0) FROM {SOURCE} WHERE {quoted} IS NOT NULL"
        )
        if share >= MIN_SHARE:
            fitting.append((sql, form))
    if not fitting:
        return None
    sql, form = fitting[0]
    local = sql.replace("TRY_CAST", "CAST").replace("try_strptime", "strptime")
    offset = literal("[0-9]:[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$")
    has_offset = database.value(
        f"SELECT coalesce(bool_and(regexp_matches({quoted}, {offset})), false)"  # noqa: S608
        f" FROM {SOURCE} WHERE {quoted} IS NOT NULL"
    )
    other = next(
        (other for _, other in fitting[1:] if form is not None and len(other or "") == len(form)), None
    )
    return EventTime(column.name, None, "UTC", form, sql, local, other, form is None and has_offset)


def choose_spans(database: Database, time: EventTime, user: str, num_rows: int) -> SpanChoice:
    """The longest period with 8 spans, if it has no gap and users come back; else a number of rows.

    Args:
        database: has the sample of the source.
        time: the time.
        user: SQL for the user.
        num_rows: number of rows of the whole source.
    """
    for by in ("week", "day", "hour"):
        period = f"date_trunc('{by}', {time.sql})"
        num_spans, num_periods, spans_per_user, smallest = database.rows(
            f"SELECT count(DISTINCT period), 1 + datediff('{by}', min(period), max(period)),"  # noqa: S608
            f" (SELECT median(n) FROM (SELECT count(DISTINCT {period}) AS n FROM {SOURCE} GROUP BY {user})),"
            f" (SELECT min(n) FROM (SELECT count(*) AS n FROM {SOURCE} GROUP BY {period}))"
            f" FROM (SELECT {period} AS period FROM {SOURCE}) WHERE period IS NOT NULL"
        )[0]
        if num_spans < _MIN_SPANS:
            continue
        if num_spans == num_periods and num_spans <= _MAX_SPANS and spans_per_user >= 2 and smallest >= 20:
            return SpanChoice(by, None, num_spans, f"{num_spans} {by}s with rows, without a gap")
        break
    count = max(1, num_rows // _NUM_COUNT_SPANS)
    digits = 10 ** max(0, len(str(count)) - 2)
    count = max(1, count // digits * digits)
    reason = (
        "no period gives 8 to 60 spans without a gap in which users come back; "
        "spans of equal size follow the order of time"
    )
    # The last rows wait until they fill a span, and the import may drop some rows.
    return SpanChoice(None, count, int(num_rows * (1 - MAX_DROPPED)) // count, reason)
