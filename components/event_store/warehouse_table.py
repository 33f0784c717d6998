"""Copies any BigQuery table into a Parquet file, for `rankdistill init` and `rankdistill events import`."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.bigquery_storage import types

from components.event_store.event_table import read_batches, require_table_name
from components.label_store.bigquery.location import BigQueryLocation, check_endpoints
from eventlog.errors import BadInput
from eventlog.parquet_files import ParquetWriter

PREFIX = "bigquery:"
_FORM = "bigquery:PROJECT.DATASET.TABLE, with ?where=CONDITION for a part of its rows"
_KEYS = ("endpoint", "read_endpoint")


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
        """Number of rows, from the table's metadata; with a condition, by reading one column.

        Raises:
            BadInput: if there is no such table, or BigQuery refuses the access or the condition.
        """
        with self._errors_explained():
            table = self.location.client().get_table(self.name)
            if not self.where:
                return int(table.num_rows or 0)
            options = types.ReadSession.TableReadOptions(selected_fields=[table.schema[0].name])
            return sum(batch.num_rows for batch in self._batches(options))

    def write_parquet(self, file: Path, max_rows: int | None = None, num_rows: int | None = None) -> int:
        """Reads the table with the Storage Read API and writes one Parquet file.

        Args:
            file: the file to write.
            max_rows: reads a random sample of about this number of rows, and at most this number: of
                BigQuery's blocks, or with a condition of its rows. None reads all rows.
            num_rows: the result of `num_rows()`, if it is known; only a sample needs it.

        Returns:
            The number of rows in the file.

        Raises:
            BadInput: if there is no such table, BigQuery refuses the access or the condition, or no row
                fulfils it.
        """
        options, share = types.ReadSession.TableReadOptions(), 1.0
        if max_rows is not None:
            num_rows = self.num_rows() if num_rows is None else num_rows
            share = min(1.0, max_rows / max(1, num_rows))
        if share < 1 and not self.where:
            # BigQuery does not combine the sample of blocks with a condition.
            options.sample_percentage, share = 100 * share, 1.0
        with self._errors_explained():
            written = _write(file, self._batches(options), max_rows, share)
        if not written:
            raise BadInput(
                "a table without rows", where=self.name, expected="rows", got="none",
                fix="Correct the condition `where`." if self.where else "Load the table, or give another.",
            )  # fmt: skip
        return written

    def _batches(self, options: Any) -> Iterator[pa.RecordBatch]:
        """Reads the rows that fulfil the condition."""
        options.row_restriction = self.where
        return read_batches(self.location, self.name, options)

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
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise self._refusal(
                "the table cannot be read", "a table and a condition that BigQuery accepts", error,
                "Correct `where`, write a view to a table first, or try again.",
            ) from error  # fmt: skip

    def _refusal(self, what: str, expected: str, error: Exception, fix: str) -> BadInput:
        got = " ".join(str(error).split())[:200]
        return BadInput(what, where=f"BigQuery table {self.name}", expected=expected, got=got, fix=fix)


def parse_warehouse_table(text: str) -> WarehouseTable:
    """Parses `bigquery:PROJECT.DATASET.TABLE?where=CONDITION`; the condition is everything after `where=`.

    `endpoint` and `read_endpoint` name an emulator, as in the URI of a label store.

    Raises:
        BadInput: if a part is missing, unknown or malformed.
    """
    name, _, query = text.removeprefix(PREFIX).partition("?")
    require_table_name(name, PREFIX)
    # The condition is the rest of the text, as it is: SQL may contain %, + and &.
    found = re.search(r"(?:^|&)where=", query)
    where = query[found.end() :] if found else ""
    query = query[: found.start()] if found else query
    values = dict(parse_qsl(query, keep_blank_values=True))
    if found and not where.strip():
        raise BadInput(
            "no condition", where=repr(text), expected="a condition after where=", got="nothing",
            fix="Write a condition, or remove `where=`.",
        )  # fmt: skip
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
    return WarehouseTable(location, name, where)


def _write(file: Path, batches: Iterator[pa.RecordBatch], max_rows: int | None, share: float) -> int:
    """Writes batches, or a random share of their rows, up to `max_rows` rows; returns the number of rows."""
    written, writer, draw = 0, None, np.random.default_rng(0)
    try:
        for batch in batches:
            rows = _readable(pa.Table.from_batches([batch]))
            if share < 1:
                rows = rows.filter(pa.array(draw.random(rows.num_rows) < share))
            if max_rows is not None:
                rows = rows.slice(0, max_rows - written)
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
