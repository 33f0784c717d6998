"""Copies any BigQuery table into a Parquet file, for `rankdistill init` and `rankdistill events import`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pyarrow as pa
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.bigquery_storage import types

from components.event_store.event_table import require_table_name
from components.label_store.bigquery.location import BigQueryLocation, check_endpoints
from components.label_store.bigquery.reading import read_stream
from eventlog.errors import BadInput
from eventlog.parquet_files import ParquetWriter

PREFIX = "bigquery:"
_FORM = "bigquery:PROJECT.DATASET.TABLE, with ?where=CONDITION for a part of its rows"
_KEYS = ("where", "endpoint", "read_endpoint")


@dataclasses.dataclass(frozen=True)
class WarehouseTable:
    """A BigQuery table with any columns.

    Attributes:
        location: project and endpoints of BigQuery.
        name: `PROJECT.DATASET.TABLE`.
        where: GoogleSQL condition of the rows to read; empty for all rows.
    """

    location: BigQueryLocation
    name: str
    where: str = ""

    def num_rows(self) -> int:
        """Number of rows of the table, from its metadata; the condition is not applied.

        Raises:
            BadInput: if there is no such table, or BigQuery refuses the access.
        """
        with self._errors_explained():
            return int(self.location.client().get_table(self.name).num_rows or 0)

    def write_parquet(self, file: Path, max_rows: int | None = None) -> int:
        """Reads the table with the Storage Read API and writes one Parquet file.

        Args:
            file: the file to write.
            max_rows: reads a random sample of BigQuery's blocks with about this number of rows, and at most
                this number. None reads all rows.

        Returns:
            The number of rows in the file.

        Raises:
            BadInput: if there is no such table, BigQuery refuses the access or the condition, or no row
                fulfils it.
        """
        project, dataset, table = self.name.rsplit(".", 2)
        options = types.ReadSession.TableReadOptions(row_restriction=self.where)
        num_rows = self.num_rows()
        if max_rows is not None and num_rows > max_rows and not self.where:
            options.sample_percentage = 100 * max_rows / num_rows
        with self._errors_explained():
            client = self.location.read_client()
            session = client.create_read_session(
                parent=f"projects/{self.location.project}",
                read_session=types.ReadSession(
                    table=f"projects/{project}/datasets/{dataset}/tables/{table}",
                    data_format=types.DataFormat.ARROW,
                    read_options=options,
                ),
            )
            batches = (
                batch for stream in session.streams for batch in read_stream(client, session, stream.name)
            )
            written = _write(file, batches, max_rows)
        if not written:
            raise BadInput(
                "a table without rows", where=self.name, expected="rows", got="none",
                fix="Correct the condition `where`." if self.where else "Load the table, or give another.",
            )  # fmt: skip
        return written

    @contextlib.contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Raises BigQuery's refusals as BadInput."""
        try:
            yield
        except exceptions.NotFound as error:
            raise self._refusal("no such table", "an existing table", error, "Correct the name.") from error
        except (
            exceptions.Forbidden,
            exceptions.Unauthenticated,
            exceptions.Unauthorized,
            GoogleAuthError,
        ) as error:
            fix = "Log in by `gcloud auth application-default login`, or ask for the role dataViewer."
            raise self._refusal("no access", "credentials that may read the table", error, fix) from error
        except exceptions.BadRequest as error:
            raise self._refusal(
                "the table cannot be read", "a table and a condition that BigQuery accepts", error,
                "Correct `where`.",
            ) from error  # fmt: skip

    def _refusal(self, what: str, expected: str, error: Exception, fix: str) -> BadInput:
        got = " ".join(str(error).split())[:200]
        return BadInput(what, where=f"BigQuery table {self.name}", expected=expected, got=got, fix=fix)


def parse_warehouse_table(text: str) -> WarehouseTable:
    """Parses `bigquery:PROJECT.DATASET.TABLE?where=CONDITION`.

    `endpoint` and `read_endpoint` name an emulator, as in the URI of a label store.

    Raises:
        BadInput: if a part is missing, unknown or malformed.
    """
    name, _, query = text.removeprefix(PREFIX).partition("?")
    require_table_name(name, PREFIX)
    values = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(values) - set(_KEYS))
    if unknown or (query and not values):
        raise BadInput(
            "not a BigQuery table", where=repr(text), expected=_FORM,
            got=f"the key {unknown[0]!r}" if unknown else repr(query), fix="Correct the part after `?`.",
        )  # fmt: skip
    endpoint, read_endpoint = values.get("endpoint"), values.get("read_endpoint")
    check_endpoints(repr(text), endpoint, read_endpoint)
    project, dataset, _ = name.rsplit(".", 2)
    location = BigQueryLocation(
        project=project, dataset=dataset, staging="", endpoint=endpoint, read_endpoint=read_endpoint
    )
    return WarehouseTable(location, name, values.get("where", ""))


def _write(file: Path, batches: Iterator[pa.RecordBatch], max_rows: int | None) -> int:
    """Writes batches until `max_rows` rows are written; returns the number of rows."""
    written, writer = 0, None
    try:
        for batch in batches:
            rows = pa.Table.from_batches([batch if max_rows is None else batch.slice(0, max_rows - written)])
            rows = _readable(rows)
            if writer is None:
                writer = ParquetWriter(file, rows.schema)
            writer.write_table(rows)
            written += rows.num_rows
            if written == max_rows:
                break
    finally:
        if writer is not None:
            writer.close()
    return written


def _readable(rows: pa.Table) -> pa.Table:
    """Casts BIGNUMERIC columns to float64: DuckDB reads no decimals of 256 bits."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_decimal256(field.type):
            rows = rows.set_column(index, field.name, rows.column(index).cast(pa.string()).cast(pa.float64()))
    return rows
