"""Reads spans of impressions from a BigQuery table.

The table has the fixed columns of an event log (`eventlog.rows.FIXED_COLUMNS`), labels and features like an
event log, and an integer column `span`: the span to which the row belongs. A matured row belongs to a later
span than its impression. Partition the table by `span`, because each query reads one span.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery_storage import types

from components.label_store.bigquery.location import BigQueryLocation
from components.label_store.bigquery.reading import read_stream
from eventlog.columns import LogColumns, canonical_schema, convert
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, FIXED_COLUMNS
from eventlog.spans import SUCCESS, span_folder, write_span

SPAN = "span"
_ARROW_TYPES = {
    "INTEGER": pa.int64(), "INT64": pa.int64(), "BOOLEAN": pa.bool_(), "BOOL": pa.bool_(),
    "FLOAT": pa.float64(), "FLOAT64": pa.float64(), "NUMERIC": pa.float64(), "BIGNUMERIC": pa.float64(),
}  # fmt: skip
"""BigQuery type → Arrow type, for a span without rows. All other types count as text."""
_TABLE_NAME = re.compile(r"([a-z0-9.:-]+)\.(\w+)\.(\w+)")
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class EventTable:
    """A table of impressions.

    Attributes:
        location: project and endpoints of BigQuery.
        name: `project.dataset.table`.

    Raises:
        BadInput: if `name` has another form.
    """

    location: BigQueryLocation
    name: str

    def __post_init__(self) -> None:
        require_table_name(self.name, "events table")

    def read_rows(self, span: int) -> pa.Table:
        """Reads the rows of one span with the Storage Read API.

        Returns:
            All columns except `span`, in the types of an event log; the rows are sorted by time and id.

        Raises:
            BadInput: if the table, `span` or a fixed column is missing, or an event log cannot hold a type.
        """
        self.require_columns()
        options = types.ReadSession.TableReadOptions(row_restriction=f"{SPAN} = {span:d}")
        batches = list(read_batches(self.location, self.name, options))
        if not batches:
            return self._no_rows()
        rows = pa.Table.from_batches(batches).drop([SPAN])
        return convert_and_sort(rows, canonical_schema(rows.schema, f"events table {self.name}"))

    def _no_rows(self) -> pa.Table:
        """An empty table with the columns that `read_rows` returns."""
        columns = []
        for column in self.location.client().get_table(self.name).schema:
            kind = _ARROW_TYPES.get(column.field_type, pa.string())
            columns.append(pa.field(column.name, pa.list_(kind) if column.mode == "REPEATED" else kind))
        schema = pa.schema([column for column in columns if column.name != SPAN])
        return canonical_schema(schema, f"events table {self.name}").empty_table()

    def write_log(self, log: Path, spans: range, on_span: Callable[[int, int], object]) -> None:
        """Writes spans into an event log; skips the spans that are complete in the log.

        Args:
            log: folder of the event log.
            spans: the spans to write.
            on_span: called after each written span with the span and its number of rows.

        Raises:
            BadInput: if the table or a column is missing, or a span has no rows.
        """
        for span in spans:
            if (span_folder(log, span) / SUCCESS).exists():
                continue
            rows = self.read_rows(span)
            if not rows.num_rows:
                raise BadInput(
                    "empty span", where=f"{self.name}, span {span}", expected="at least one row",
                    got="none", fix="Load the span, or correct --spans.",
                )  # fmt: skip
            on_span(span, write_span(log, span, [rows]))

    def require_columns(self, columns: LogColumns | None = None) -> None:
        """Checks that the table exists and has the column `span` and the fixed columns.

        Args:
            columns: also requires these columns, except the optional ones. None: requires no others.

        Raises:
            BadInput: if the table or a column is missing.
        """
        wanted = {SPAN, *FIXED_COLUMNS.names}
        if columns is not None:
            wanted |= set(columns.schema.names) - columns.optional
        missing = self.missing_columns(wanted)
        if missing:
            raise BadInput(
                f"missing column {min(missing)}", where=f"events table {self.name}",
                expected="the columns that the deployment reads, and the column span", got="no such column",
                fix="Add the column to the table; a label that is null is masked.",
            )  # fmt: skip

    def missing_columns(self, names: Iterable[str]) -> set[str]:
        """Returns those of `names` that are not columns of the table.

        Raises:
            BadInput: if the table is missing.
        """
        try:
            table: bigquery.Table = self.location.client().get_table(self.name)
        except exceptions.NotFound as error:
            raise BadInput(
                "no such table", where=f"events table {self.name}", expected="a table of impressions",
                got="none", fix="Create the table, or correct its name.",
            ) from error  # fmt: skip
        return set(names) - {field.name for field in table.schema}


def read_batches(location: BigQueryLocation, name: str, options: Any) -> Iterator[pa.RecordBatch]:
    """Reads rows of a table with the Storage Read API.

    Args:
        location: project and endpoints of BigQuery.
        name: `project.dataset.table`.
        options: columns, condition and sample, as `TableReadOptions`.
    """
    project, dataset, table = _TABLE_NAME.fullmatch(name).groups()  # type: ignore[union-attr]
    client = location.read_client()
    session = client.create_read_session(
        parent=f"projects/{location.project}",
        read_session=types.ReadSession(
            table=f"projects/{project}/datasets/{dataset}/tables/{table}",
            data_format=types.DataFormat.ARROW,
            read_options=options,
        ),
    )
    for stream in session.streams:
        yield from read_stream(client, session, stream.name)


def require_table_name(name: str, option: str) -> None:
    """Checks that a name has the form `project.dataset.table`, because it becomes part of SQL.

    Args:
        name: the name.
        option: the option or the configuration key with the name, for the error message.

    Raises:
        BadInput: if the name has another form.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise BadInput(
            "not a table's name", where=f"{option} {name!r}", expected="PROJECT.DATASET.TABLE",
            got=repr(name), fix="Correct the name.",
        )  # fmt: skip


def require_column_name(name: str) -> None:
    """Checks that the name of a column or task has only letters, digits and `_`: it becomes part of SQL.

    Raises:
        BadInput: if the name has another character, begins with a digit, or is empty.
    """
    if not _COLUMN_NAME.fullmatch(name):
        raise BadInput(
            "not a column's name", where="join in BigQuery", got=repr(name),
            expected="letters, digits and _, the first not a digit", fix="Rename the column or task.",
        )  # fmt: skip


def convert_and_sort(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Converts a table to `schema`, see `eventlog.columns.convert`, and sorts the rows by time and id."""
    rows = convert(table, schema)
    return rows.take(pc.sort_indices(rows, [(EVENT_TIME_MS, "ascending"), (EXAMPLE_ID, "ascending")]))
