"""SQL for the time of an impression, and for the periods that become spans."""

from __future__ import annotations

import datetime
import re

from eventlog.errors import BadInput
from eventlog.tables.database import Database, literal
from eventlog.tables.mapping import Period, SpanSettings, TimeSettings

BUCKET_MS = 900_000
"""Length of a bucket: a quarter of an hour. A zone changes its offset only between two buckets.

So each bucket lies in one period of any zone.
"""
_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_INTEGERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_NUMBERS = re.compile(r"FLOAT|DOUBLE|DECIMAL.*")
_ZONED = "TIMESTAMP WITH TIME ZONE"
_LOCAL = re.compile(r"DATE|TIMESTAMP(_S|_MS|_NS)?")
# The offset follows a time; in a date alone, `-05` is the day.
_OFFSET = r":\d\d(\.\d+)?\s*(Z|z|[+-]\d\d(:?\d\d)?)$"


def zone_sql(database: Database, zone: str, where: str) -> str:
    """The SQL literal of the name of a zone.

    Raises:
        BadInput: if there is no such zone.
    """
    if not database.value("SELECT count(*) FROM pg_timezone_names() WHERE name = $1", [zone]):
        raise BadInput(
            "unknown zone", where=where, expected="a name such as Europe/Berlin or UTC", got=repr(zone),
            fix="Correct the name.",
        )  # fmt: skip
    return literal(zone)


def milliseconds_sql(settings: TimeSettings, sql: str, kind: str, zone: str | None, where: str) -> str:
    """SQL for milliseconds since 1970 in UTC; null for a local time that has no zone or that its zone skips.

    Args:
        settings: how the time is read.
        sql: SQL of the time, from `parsed_sql`.
        kind: DuckDB's type of `sql`.
        zone: SQL of the zone of local times; None without one.
        where: the mapping's key, for error messages.

    Raises:
        BadInput: if the settings do not fit the type.
    """
    if settings.unit is not None:
        per_second = _UNITS_PER_SECOND[settings.unit]
        if _INTEGERS.fullmatch(kind):
            factor = f"* {1000 // per_second}" if per_second <= 1000 else f"// {per_second // 1000}"
            return f"CAST({sql} AS BIGINT) {factor}" if factor != "* 1" else f"CAST({sql} AS BIGINT)"
        if _NUMBERS.fullmatch(kind):
            return f"CAST(round(CAST({sql} AS DOUBLE) * {1000 / per_second}) AS BIGINT)"
        raise _wrong_type(
            where, "a number, because `unit` is set", kind, "Give the column a type in `columns`."
        )
    if kind == _ZONED:
        return f"epoch_ms({sql})"
    if kind == "VARCHAR":
        zoned = f"epoch_ms(CAST({sql} AS TIMESTAMPTZ))"
        local = "NULL" if zone is None else _local_sql(f"CAST({sql} AS TIMESTAMP)", zone)
        return f"CASE WHEN regexp_matches(trim({sql}), {literal(_OFFSET)}) THEN {zoned} ELSE {local} END"
    if _LOCAL.fullmatch(kind):
        if zone is None:
            raise _wrong_type(where, "a time with an offset", kind, "Set `time.zone`.")
        return _local_sql(f"CAST({sql} AS TIMESTAMP)", zone)
    raise _wrong_type(
        where, "a time, a text, or a number with `unit`", kind, "Set `time.unit`, or cast the value."
    )


def parsed_sql(settings: TimeSettings, sql: str, kind: str, where: str) -> str:
    """SQL of the time; a text is read with `settings.format` if that is set.

    Raises:
        BadInput: if a format is set, but the expression is no text.
    """
    if settings.format is None:
        return sql
    if kind != "VARCHAR":
        raise _wrong_type(where, "a text, because `format` is set", kind, "Remove `time.format`.")
    return f"strptime({sql}, {literal(settings.format)})"


def local_bucket_sql(sql: str, kind: str, where: str) -> str:
    """SQL for the bucket of a date or local time, as if it were in UTC.

    Raises:
        BadInput: if the expression is neither.
    """
    if not _LOCAL.fullmatch(kind):
        raise _wrong_type(
            where, "a date, or a time without zone", kind, "Cast it, for example with strptime."
        )
    return f"epoch_ms(CAST({sql} AS TIMESTAMP)) // {BUCKET_MS}"


def period_sql(settings: SpanSettings, bucket: str, zone: str | None) -> str:
    """SQL for the number of a bucket's period: hours, days or weeks since 1970.

    Args:
        settings: the spans of a mapping with `by`.
        bucket: SQL of the bucket.
        zone: SQL of the zone in which a day begins; None for UTC.
    """
    if settings.by == Period.hour:
        return f"{bucket} // {3_600_000 // BUCKET_MS}"
    days = f"{bucket} // {86_400_000 // BUCKET_MS}"
    if zone is not None:
        local = f"timezone({zone}, to_timestamp({bucket} * {BUCKET_MS // 1000}))"
        days = f"datediff('day', DATE '1970-01-01', {local})"
    # 1970 began on a Thursday. All days are after 1970, so `//` rounds down.
    return days if settings.by == Period.day else f"({days} + 3) // 7"


def period_name(settings: SpanSettings, period: int) -> str:
    """A period as text, such as `2024-03-05`."""
    if settings.by == Period.hour:
        start = datetime.datetime(1970, 1, 1) + datetime.timedelta(hours=period)
        return f"{start:%Y-%m-%d %H}:00 UTC"
    days = period if settings.by == Period.day else 7 * period - 3
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    return date.isoformat() if settings.by == Period.day else f"the week of {date}"


def _local_sql(sql: str, zone: str) -> str:
    # In spring a zone skips an hour. DuckDB moves a skipped time, so the way back gives another local time.
    instant = f"timezone({zone}, {sql})"
    return f"CASE WHEN timezone({zone}, {instant}) = {sql} THEN epoch_ms({instant}) END"


def _wrong_type(where: str, expected: str, kind: str, fix: str) -> BadInput:
    return BadInput("wrong type of the time", where=where, expected=expected, got=kind, fix=fix)
