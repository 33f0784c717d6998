"""A table of impressions in BigQuery, and its spans as the event log has them.

The table has the log's columns (`eventlog.rows.LOG_SCHEMA`) and `span`, an integer: the span a row lies in,
which for a matured row is later than that of its impression. Partition it by `span`: each query asks for one.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery_storage import types

from components.label_store.bigquery.location import BigQueryLocation
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, LOG_SCHEMA
from eventlog.spans import SUCCESS, span_folder, write_span

SPAN = "span"
_NAME = re.compile(r"([a-z0-9.:-]+)\.(\w+)\.(\w+)")


@dataclasses.dataclass(frozen=True)
class EventTable:
    """A table of impressions.

    Attributes:
        location: how BigQuery is reached.
        name: `project.dataset.table`.

    Raises:
        BadInput: if the name is not of that form.
    """

    location: BigQueryLocation
    name: str

    def __post_init__(self) -> None:
        require_table_name(self.name, "events table")

    def read_span(self, span: int) -> pa.Table:
        """One span's rows, of which there must be some; see `rows_of`.

        Raises:
            BadInput: if there is no such table, a column is missing, or the span has no rows.
        """
        rows = self.rows_of(span)
        if not rows.num_rows:
            raise BadInput(
                "empty span", where=f"{self.name}, span {span}", expected="at least one row",
                got="none", fix="Load the span, or ask for one that is there.",
            )  # fmt: skip
        return rows

    def rows_of(self, span: int) -> pa.Table:
        """One span's rows as `LOG_SCHEMA`, in order of time and id, by the Storage Read API.

        Raises:
            BadInput: if there is no such table, or a column is missing.
        """
        self.require_columns()
        project, dataset, table = _NAME.fullmatch(self.name).groups()  # type: ignore[union-attr]
        client = self.location.read_client()
        options = types.ReadSession.TableReadOptions(
            selected_fields=LOG_SCHEMA.names, row_restriction=f"{SPAN} = {span:d}"
        )
        session = client.create_read_session(
            parent=f"projects/{self.location.project}",
            read_session=types.ReadSession(
                table=f"projects/{project}/datasets/{dataset}/tables/{table}",
                data_format=types.DataFormat.ARROW,
                read_options=options,
            ),
        )
        pages = [
            page.to_arrow()
            for stream in session.streams
            for page in client.read_rows(stream.name).rows(session).pages
        ]
        if not pages:
            return LOG_SCHEMA.empty_table()
        return in_log_columns(pa.Table.from_batches(pages), LOG_SCHEMA)

    def write_log(self, log: Path, spans: range, on_span: Any) -> None:
        """Writes spans into an event log; complete ones are kept.

        Args:
            log: its folder.
            spans: which ones.
            on_span: told of each span and its rows.

        Raises:
            BadInput: see `read_span`.
        """
        for span in spans:
            if not (span_folder(log, span) / SUCCESS).exists():
                on_span(span, write_span(log, span, [self.read_span(span)]))

    def require_columns(self) -> None:
        """Refuses a table that is not there or lacks a column of the log.

        Raises:
            BadInput: naming the first such column.
        """
        try:
            table: bigquery.Table = self.location.client().get_table(self.name)
        except exceptions.NotFound as error:
            raise BadInput(
                "no such table", where=f"events table {self.name}", expected="a table of impressions",
                got="none", fix="Create it, or correct its name.",
            ) from error  # fmt: skip
        missing = {*LOG_SCHEMA.names, SPAN} - {field.name for field in table.schema}
        if missing:
            raise BadInput(
                f"missing column {min(missing)}", where=f"events table {self.name}",
                expected="every column of the event log, and span", got="none of that name",
                fix="Add it to the table; null means masked.",
            )  # fmt: skip


def require_table_name(name: str, what: str) -> None:
    """Refuses what is not `project.dataset.table`: names go into SQL.

    Args:
        name: the name.
        what: what it names, for the error.

    Raises:
        BadInput: if it is of another form.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            "not a table's name", where=f"{what} {name!r}", expected="PROJECT.DATASET.TABLE",
            got=repr(name), fix="Correct it.",
        )  # fmt: skip


def in_log_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """What BigQuery gives, in the flat types of the log, in order of time and id."""
    columns = [table[field.name].cast(field.type) for field in schema]
    rows = pa.table(columns, schema=schema)
    return rows.take(pc.sort_indices(rows, [(EVENT_TIME_MS, "ascending"), (EXAMPLE_ID, "ascending")]))
