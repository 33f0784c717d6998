"""Creates the two tables of a BigQuery label store, and adds a column for each new task.

labels      rows of all attempts; partitioned by event_date, clustered by (label_set, example_id)
label_sets  state of all attempts, pins of fleets, and the guard row (see `registry`)
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import bigquery

from components.label_store.base import EVENT_DATE, SoftColumn
from components.label_store.bigquery.jobs import TRANSIENT_ERRORS
from components.label_store.bigquery.location import LABEL_SETS, LABELS, BigQueryLocation
from components.label_store.bigquery.registry import missing_tables_error
from components.label_store.publication import column_conflict_error
from eventlog.errors import BadInput
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX
from eventlog.shipped_schema import shipped_schema

LABEL_SET = "label_set"
_CLUSTERING = [LABEL_SET, EXAMPLE_ID]
_DAY_MS = 24 * 3600 * 1000
_CONFLICT_ERRORS = (exceptions.PreconditionFailed, exceptions.Conflict, exceptions.BadRequest)
"""Errors of an update if another process has changed the table meanwhile.

BigQuery raises the first. The test server local-bigquery raises the other two.
"""
_MAX_UPDATES = 12
_MAX_READS = 8

_RETRY: Any = Retry(predicate=lambda error: isinstance(error, TRANSIENT_ERRORS), initial=0.1, timeout=300.0)
"""Retry policy of idempotent calls."""


def make_tables(location: BigQueryLocation, client: bigquery.Client) -> list[str]:
    """Creates the dataset and its two tables if they are missing; sets the partition expiration of `labels`.

    Returns:
        The full names of the tables.

    Raises:
        BadInput: if a table exists with different fixed columns, partitioning or clustering.
    """
    dataset = bigquery.Dataset(f"{location.project}.{location.dataset}")
    dataset.location = location.location
    client.create_dataset(dataset, exists_ok=True, retry=_RETRY)
    labels = _define_table(location, LABELS)
    labels.time_partitioning = bigquery.TimePartitioning(
        field=EVENT_DATE,
        expiration_ms=location.retention_days * _DAY_MS if location.retention_days else None,
    )
    labels.require_partition_filter = True
    labels.clustering_fields = _CLUSTERING
    for table in (labels, _define_table(location, LABEL_SETS)):
        existing = client.create_table(table, exists_ok=True, retry=_RETRY)
        _require_same_shape(table, existing)
        if _expiration_ms(existing) != _expiration_ms(table):
            existing.time_partitioning = table.time_partitioning
            client.update_table(existing, ["time_partitioning"], retry=_RETRY)
    return [location.table(LABELS), location.table(LABEL_SETS)]


def add_columns(
    location: BigQueryLocation, client: bigquery.Client, columns: Mapping[str, SoftColumn]
) -> list[bigquery.SchemaField]:
    """Adds the task columns that `labels` lacks. A column's description gives kind, link, unit and scale.

    Returns:
        All fields of the table.

    Raises:
        BadInput: if a column exists with another meaning, or the table is missing.
        RuntimeError: if the columns are still missing after `_MAX_UPDATES` updates.
    """
    failure: Exception | None = None
    for num_updates in range(_MAX_UPDATES + 1):
        time.sleep(0.05 * num_updates)
        table = _read_labels_table(location, client)
        missing = _missing_fields(location, table, columns)
        if not missing:
            return list(table.schema)
        if num_updates == _MAX_UPDATES:
            break
        table.schema = [*table.schema, *missing]
        try:
            # The request contains the table's etag. If two processes add columns at once, one request fails.
            client.update_table(table, ["schema"], retry=None)
        except (*_CONFLICT_ERRORS, *TRANSIENT_ERRORS) as error:
            failure = error
    where = location.table(LABELS)
    raise RuntimeError(f"could not add columns to {where} in {_MAX_UPDATES} updates.") from failure


def _read_labels_table(location: BigQueryLocation, client: bigquery.Client) -> bigquery.Table:
    """Reads the schema of `labels`; up to `_MAX_READS` times if a task column has no description.

    local-bigquery adds a column first and its description later. But a column that was added by hand may
    never get a description.

    Raises:
        BadInput: if the table is missing.
    """
    for num_reads in range(_MAX_READS):
        time.sleep(0.05 * num_reads)
        try:
            table = client.get_table(location.table(LABELS), retry=_RETRY)
        except exceptions.NotFound as error:
            raise missing_tables_error(location) from error
        task_fields = [field for field in table.schema if field.name.startswith(SOFT_PREFIX)]
        if all(field.description is not None for field in task_fields):
            break
    return table


@functools.cache
def read_fixed_fields(name: str) -> tuple[bigquery.SchemaField, ...]:
    """Reads the fixed columns of a table from `schema/<name>.bq.json`."""
    fields = json.loads(shipped_schema(f"{name}.bq.json").read_text())
    return tuple(bigquery.SchemaField.from_api_repr(field) for field in fields)


def _missing_fields(
    location: BigQueryLocation, table: bigquery.Table, columns: Mapping[str, SoftColumn]
) -> list[bigquery.SchemaField]:
    meanings = {field.name: field.description for field in table.schema}
    missing = []
    for task, column in columns.items():
        name, meaning = SOFT_PREFIX + task, _description(column)
        if name not in meanings:
            missing.append(bigquery.SchemaField(name, "FLOAT64", description=meaning))
        elif meanings[name] != meaning:
            raise column_conflict_error(name, location.table(LABELS), str(meanings[name]), meaning)
    return missing


def _define_table(location: BigQueryLocation, name: str) -> bigquery.Table:
    table = bigquery.Table(location.table(name), schema=list(read_fixed_fields(name)))
    table.labels = dict(location.billing_labels)
    return table


def _require_same_shape(expected: bigquery.Table, existing: bigquery.Table) -> None:
    def shape(table: bigquery.Table) -> tuple[Any, ...]:
        partitioning = table.time_partitioning
        return (
            [(field.name, field.field_type, field.mode) for field in table.schema[: len(expected.schema)]],
            partitioning.field if partitioning else None,
            table.clustering_fields,
        )

    if shape(expected) != shape(existing):
        raise BadInput(
            "a table with this name has other columns, partitioning or clustering",
            where=f"{existing.project}.{existing.dataset_id}.{existing.table_id}",
            expected=str(shape(expected)),
            got=str(shape(existing)),
            fix="Use a separate dataset for the label store.",
        )


def _expiration_ms(table: bigquery.Table) -> int | None:
    partitioning = table.time_partitioning
    return partitioning.expiration_ms if partitioning else None


def _description(column: SoftColumn) -> str:
    return f"kind={column.kind}, link={column.link}, unit={column.unit}, scale={column.scale}"
