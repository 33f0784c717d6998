"""Imports a table as an event log: the entry point of this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from eventlog.checks import check_tables
from eventlog.columns import LogColumns
from eventlog.errors import BadInput
from eventlog.importing.labels import BATCH_ROWS, MaturedRows
from eventlog.importing.loading import LoadedTable, load_table, require_few_dropped
from eventlog.importing.ordering import mark_duplicates, order_rows
from eventlog.importing.prefetch import prefetched
from eventlog.importing.record import read_record, recorded_settings, require_same_settings, write_record
from eventlog.importing.span_plan import (
    GOOD,
    Plan,
    SpanRows,
    plan_counts,
    plan_periods,
    require_no_gap,
    row_period_sql,
)
from eventlog.importing.staging import ROWS
from eventlog.importing.workspace import workspace
from eventlog.importing.written_spans import WrittenSpans
from eventlog.rows import IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.spans import span_folder, write_span
from eventlog.tables.database import Database, identifier
from eventlog.tables.dirt import DirtReport
from eventlog.tables.mapping import TableMapping

_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float32()}


def log_columns(mapping: TableMapping) -> LogColumns:
    """The columns of the log that a mapping describes."""
    features = {
        name: _TYPES[feature.type]
        if feature.type in _TYPES
        else pa.list_(_TYPES[feature.type.removesuffix("s")])
        for name, feature in mapping.features.items()
    }
    return LogColumns({task: label.age for task, label in mapping.labels.items()}, features)


def import_table(
    mapping: TableMapping,
    where: str,
    source: Path,
    log: Path,
    on_span: Callable[[int, int], None] | None = None,
    on_report: Callable[[DirtReport], None] | None = None,
) -> range:
    """Writes those spans of a table that the log does not have yet. Complete spans never change.

    Args:
        mapping: what the columns mean.
        where: the mapping's file, for error messages.
        source: a file, or a folder with the files that the mapping names.
        log: the log's folder, created if it is missing.
        on_span: called with (span, number of rows) after each span is written.
        on_report: called with the report before the first span is written.

    Returns:
        The spans that were written.

    Raises:
        BadInput: if the mapping, a file or an expression is wrong, too many rows must be dropped, or the
            rows cannot become complete spans. Spans before the faulty one are written.
    """
    with workspace(log) as folder:
        database = Database(folder, source)
        try:
            table = load_table(database, mapping, where, source, log.absolute())
            plan = _plan(database, mapping, table, log, source)
            if on_report is not None:
                on_report(_report(database, table, plan))
            share = table.num_unplaced / table.num_rows if table.num_rows else 0
            require_few_dropped(share, mapping.max_dropped, str(source))
            require_no_gap(plan, mapping.spans, str(source))
            if plan.new:
                write_record(log, plan.first_period, recorded_settings(mapping, table.expressions))
            for rows in plan.new:
                where_dropped = f"{source}: span {rows.span} ({rows.name})"
                require_few_dropped(rows.share, mapping.max_dropped, where_dropped)
                num_rows = _write(database, mapping, table, log, plan, rows)
                if on_span is not None:
                    on_span(rows.span, num_rows)
        finally:
            database.close()
    return range(plan.num_written, plan.num_written + len(plan.new))


def _plan(database: Database, mapping: TableMapping, table: LoadedTable, log: Path, source: Path) -> Plan:
    """Orders the rows, marks duplicates and assigns the rows to spans."""
    written = WrittenSpans(database, log)
    record = read_record(log) if written.num_spans else None
    if record is None and written.num_spans:
        raise BadInput(
            "not an imported log", where=str(log),
            expected="a new folder, or a log that an import wrote",
            got=f"{written.num_spans} spans without an import's record", fix="Import into another folder.",
        )  # fmt: skip
    if record is not None:
        require_same_settings(record["meaning"], recorded_settings(mapping, table.expressions), table.where)
    spans = mapping.spans
    order_rows(database, is_source_ordered=not mapping.tables, by_count=spans.count is not None)
    period = row_period_sql(database, spans, table.where)
    reason = table.staging.add_reason("example_id: repeats an id of the same span")
    num_duplicates = mark_duplicates(database, mapping.duplicates, period, reason)
    if num_duplicates and mapping.duplicates == "refuse":
        raise BadInput(
            "duplicates", where=str(source), expected="every id once in a span",
            got=f"{num_duplicates} rows that repeat an id",
            fix="Repair the source, or set `duplicates: drop` or `number`.",
        )  # fmt: skip
    if spans.count is not None:
        return plan_counts(
            database, spans.count, written.last_id(), written.num_spans, str(source), written.ids()
        )
    first_period = None if record is None else record["first_period"]
    plan = plan_periods(database, spans, period, first_period, written.num_spans, str(source))
    notes = written.differences({rows.span: rows.num_rows for rows in plan.spans})
    return dataclasses.replace(plan, notes=[*plan.notes, *notes])


def _report(database: Database, table: LoadedTable, plan: Plan) -> DirtReport:
    """Reports the dropped rows of new spans and those without a time; rows of written spans are left out."""
    dropped = table.staging.dirt(database, [rows.condition for rows in plan.new])
    notes = [*table.notes, *plan.notes]
    if not plan.new:
        kept = "" if table.num_rows else "no row of the source is left after `where`; "
        notes.append(f"{kept}no new span: the log already has {plan.num_written} spans")
    dirt = sorted([*table.rejected, *dropped], key=lambda entry: -entry.num_rows)
    return DirtReport(table.num_rows, dirt, notes)


def _write(
    database: Database, mapping: TableMapping, table: LoadedTable, log: Path, plan: Plan, rows: SpanRows
) -> int:
    """Checks and writes one span; returns its number of rows."""
    columns = log_columns(mapping)
    matured = MaturedRows(database, table.staging, table.expressions, log.absolute(), columns.schema)

    def tables() -> Iterator[pa.Table]:
        # Matured rows are older than fresh rows.
        yield from matured.of_span(rows.span, {known.span: known for known in plan.spans})
        yield from _fresh_rows(database, mapping, columns, rows)

    # `mark_duplicates` has made the ids unique, but an id with an added number may equal another id.
    checked = check_tables(
        prefetched(tables()), rows.span, columns, span_folder(log, rows.span),
        has_unique_ids=mapping.duplicates != "number",
    )  # fmt: skip
    return write_span(log, rows.span, prefetched(checked), schema=columns.schema)


def _fresh_rows(
    database: Database, mapping: TableMapping, columns: LogColumns, rows: SpanRows
) -> Iterator[pa.Table]:
    """The fresh rows of a span, in the order of `ROWS`; delayed labels are null."""
    values = {IMPRESSION_SPAN: f"CAST({rows.span} AS BIGINT)"}
    values |= {
        LABEL_PREFIX + task: "CAST(NULL AS FLOAT)" for task, label in mapping.labels.items() if label.age
    }
    selected = ", ".join(
        f"{values.get(name, identifier(name))} AS {identifier(name)}" for name in columns.schema.names
    )
    query = f"SELECT {selected} FROM {ROWS} WHERE {GOOD} AND {rows.condition}"  # noqa: S608 - quoted names
    for batch in database.run(query).to_arrow_reader(BATCH_ROWS):
        yield pa.Table.from_batches([batch])
