"""Assigns the ordered rows of an import to spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventlog.errors import BadInput
from eventlog.importing.staging import BUCKET, REASON, ROWS
from eventlog.rows import EXAMPLE_ID
from eventlog.tables.database import Database
from eventlog.tables.event_time import period_name, period_sql, zone_sql
from eventlog.tables.mapping import Period, SpanSettings

PERIODS = "__periods"
"""Table with the period of each bucket."""
GOOD = f"{REASON} IS NULL"
"""SQL condition of the rows of `ROWS` that are imported."""


def rows_between(first: int, end: int) -> str:
    """SQL condition of the rows of `ROWS` from number `first` to number `end - 1`."""
    return f"{ROWS}.rowid >= {first} AND {ROWS}.rowid < {end}"


@dataclass(frozen=True)
class SpanRows:
    """The rows of one span: a range of `ROWS`.

    Attributes:
        span: number of the span.
        name: the period as text; for spans by count the same as the number.
        first, end: row numbers of `ROWS`; `end` is not part of the span.
        num_rows: number of rows that are imported.
        num_dropped: number of rows that are dropped.
    """

    span: int
    name: str
    first: int
    end: int
    num_rows: int
    num_dropped: int

    @property
    def condition(self) -> str:
        """SQL condition of the span's rows in `ROWS`."""
        return rows_between(self.first, self.end)

    @property
    def share(self) -> float:
        """Share of the dropped rows."""
        return self.num_dropped / (self.num_rows + self.num_dropped)


@dataclass(frozen=True)
class Plan:
    """The spans of a source.

    Attributes:
        spans: the spans, in order; those below `num_written` are in the log already.
        num_written: number of spans of the log.
        first_period: the period of span 0; None for spans by count.
        notes: lines for the report.
    """

    spans: Sequence[SpanRows]
    num_written: int
    first_period: int | None = None
    notes: Sequence[str] = ()

    @property
    def new(self) -> list[SpanRows]:
        """The spans to write."""
        return [rows for rows in self.spans if rows.span >= self.num_written]


def row_period_sql(database: Database, settings: SpanSettings, where: str) -> str:
    """SQL for the number of the period of a row of `ROWS`; for spans by count, all rows have the period 0.

    If the periods are those of a zone, it writes the table `PERIODS`, which the SQL reads.

    Raises:
        BadInput: if the zone is unknown.
    """
    if settings.by is None:
        return "0"
    if settings.by == Period.hour or settings.zone == "UTC" or settings.value is not None:
        return period_sql(settings, BUCKET, None)
    period = period_sql(settings, "bucket", zone_sql(database, settings.zone, f"{where}: spans.zone"))
    database.run(
        f"CREATE TEMP TABLE {PERIODS} AS SELECT bucket, {period} AS period"  # noqa: S608 - checked zone
        f" FROM (SELECT DISTINCT {BUCKET} AS bucket FROM {ROWS} WHERE {BUCKET} IS NOT NULL)"
    )
    return f"(SELECT period FROM {PERIODS} WHERE bucket = {BUCKET})"  # noqa: S608 - only constants


def plan_periods(
    database: Database,
    settings: SpanSettings,
    period: str,
    first_period: int | None,
    num_written: int,
    where: str,
) -> Plan:
    """The spans of the source, one for each period with rows.

    Args:
        database: the database with ordered `ROWS`.
        settings: the mapping's spans, with `by`.
        period: SQL for the period of a row, from `row_period_sql`.
        first_period: the period of span 0; None: the first period of the source.
        num_written: number of spans of the log.
        where: the source, for error messages.

    Raises:
        BadInput: if the source has a good row of a period before `first_period`.
    """
    found = database.rows(f"""
      SELECT {period} AS period, min(rowid), max(rowid) + 1, count(*) FILTER (WHERE {GOOD}), count(*)
      FROM {ROWS} WHERE {BUCKET} IS NOT NULL GROUP BY ALL ORDER BY period
    """)  # noqa: S608 - only constants
    if not found:
        return Plan([], num_written, first_period)
    start = found[0][0] if first_period is None else first_period
    too_early = [period for period, _, _, good, _ in found if good and period < start]
    if too_early:
        raise BadInput(
            "the source begins before the log", where=where, got=period_name(settings, too_early[0]),
            expected=f"rows from {period_name(settings, start)} on", fix="Write a new log.",
        )  # fmt: skip
    spans = [
        SpanRows(period - start, period_name(settings, period), begin, end, good, total - good)
        for period, begin, end, good, total in found
        if period >= start
    ]
    notes = []
    if settings.newest == "filling" and spans:
        newest = spans.pop()
        notes.append(f"{newest.name} is left out as the newest period: {newest.num_rows} rows")
    return Plan(spans, num_written, start, notes)


def require_no_gap(plan: Plan, settings: SpanSettings, where: str) -> None:
    """Raises BadInput if a new period has no good row, but a later period of the source has one."""
    new = [rows.span for rows in plan.new if rows.num_rows]
    missing = sorted(set(range(plan.num_written, max(new, default=0))) - set(new))
    if missing and plan.first_period is not None:
        period = Period(settings.by)
        coarser = {Period.hour: "day", Period.day: "week"}.get(period)
        advice = f", or import into a new folder with longer spans (by: {coarser})" if coarser else ""
        others = f" and in {len(missing) - 1} others" if len(missing) > 1 else ""
        raise BadInput(
            "a period without rows", where=where, expected=f"rows in every {period.value}",
            got=f"none in {period_name(settings, plan.first_period + missing[0])}{others}",
            fix=f"Add the missing rows{advice}.",
        )  # fmt: skip


def plan_counts(
    database: Database, count: int, last_id: str | None, num_written: int, where: str, written_ids: str
) -> Plan:
    """The full spans of `count` rows each; the rows after the last full span wait for a later import.

    Args:
        database: the database with ordered `ROWS`.
        count: number of rows of a span.
        last_id: example id of the log's last fresh row; None for a new log.
        num_written: number of spans of the log.
        where: the source, for error messages.
        written_ids: SQL for a relation with the example ids of the log; unused for a new log.

    Raises:
        BadInput: if the source lacks the log's last row.
    """
    database.run(
        "CREATE TEMP TABLE __ordinals AS SELECT row, row_number() OVER () - 1 AS ordinal"  # noqa: S608
        f" FROM (SELECT rowid AS row FROM {ROWS} WHERE {GOOD} ORDER BY rowid)"
    )
    num_before = 0
    if last_id is not None:
        rows = f"__ordinals JOIN {ROWS} ON row = {ROWS}.rowid"
        num_before = database.value(
            f"SELECT max(ordinal) + 1 FROM {rows} WHERE {EXAMPLE_ID} = $1", [last_id]  # noqa: S608
        )  # fmt: skip
        if num_before is None:
            raise BadInput(
                "the source lacks the last row of the log", where=where, expected=f"a row {last_id!r}",
                got="none", fix="Import a source that has the rows of the last span and later ones.",
            )  # fmt: skip
    num_rows = database.value("SELECT count(*) FROM __ordinals")
    # A source may lack the first spans of the log, or begin within one.
    offset = num_before % count
    first_span = num_written - num_before // count
    found = database.rows(f"""
      SELECT (ordinal - {offset}) // {count} AS number, min(row), max(row) + 1 FROM __ordinals
      WHERE ordinal >= {offset} AND ordinal < {offset + (num_rows - offset) // count * count}
      GROUP BY 1 ORDER BY 1
    """)  # noqa: S608 - only numbers
    spans = [
        SpanRows(first_span + number, str(first_span + number), begin, end, count, end - begin - count)
        for number, begin, end in found
    ]
    waiting = (num_rows - offset) % count
    notes = [f"{waiting} rows wait until they fill a span of {count}"] if waiting else []
    if num_before:
        late = database.value(
            f"SELECT count(*) FROM __ordinals JOIN {ROWS} ON row = {ROWS}.rowid"  # noqa: S608 - quoted names
            f" WHERE ordinal < {num_before} AND {EXAMPLE_ID} NOT IN (SELECT {EXAMPLE_ID} FROM {written_ids})"
        )
        if late:
            notes.append(
                f"{late} rows are left out: they are earlier than the log's last row, and the log lacks them"
            )
    if first_span and offset:
        notes.append(f"the first {offset} rows of the source are not used, because they do not fill a span")
    if num_written and first_span < 0:
        notes.append(f"up to the log's last row, the source has {-first_span * count} rows more than the log")
    return Plan([rows for rows in spans if rows.span >= 0], num_written, None, notes)
