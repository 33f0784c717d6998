"""The two tables of a BigQuery label store: how they are made, and how a task gets its column.

labels      rows of all attempts; partitioned by event_date, clustered by (label_set, example_id)
label_sets  which of the attempts are published, and what fleets have pinned
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
from components.label_store.bigquery.jobs import TRANSIENT
from components.label_store.bigquery.location import LABEL_SETS, LABELS, BigQueryLocation
from components.label_store.bigquery.registry import missing_tables
from components.label_store.publication import column_conflict
from eventlog.errors import BadInput
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX
from eventlog.shipped_schema import shipped_schema

LABEL_SET = "label_set"
_CLUSTERING = [LABEL_SET, EXAMPLE_ID]
_DAY_MS = 24 * 3600 * 1000
_LOST_RACE = (exceptions.PreconditionFailed, exceptions.Conflict, exceptions.BadRequest)
"""Another changed the table first: BigQuery's word, and local-bigquery's two."""
_COLUMN_ATTEMPTS = 12

ASK_AGAIN: Any = Retry(predicate=lambda error: isinstance(error, TRANSIENT), initial=0.1, timeout=300.0)
"""For calls that do no harm when they are done twice."""


def make_tables(location: BigQueryLocation, client: bigquery.Client) -> list[str]:
    """Makes what is missing of the dataset and its two tables; sets the days of labels' expiry.

    Returns:
        The full ids of the tables, which are there now.

    Raises:
        BadInput: if a table is there and has other fixed columns, partitions or clusters.
    """
    dataset = bigquery.Dataset(f"{location.project}.{location.dataset}")
    dataset.location = location.location
    client.create_dataset(dataset, exists_ok=True, retry=ASK_AGAIN)
    labels = _table(location, LABELS)
    labels.time_partitioning = bigquery.TimePartitioning(
        field=EVENT_DATE,
        expiration_ms=location.retention_days * _DAY_MS if location.retention_days else None,
    )
    labels.require_partition_filter = True
    labels.clustering_fields = _CLUSTERING
    for table in (labels, _table(location, LABEL_SETS)):
        found = client.create_table(table, exists_ok=True, retry=ASK_AGAIN)
        _require_same(table, found)
        if _expiration(found) != _expiration(table):
            found.time_partitioning = table.time_partitioning
            client.update_table(found, ["time_partitioning"], retry=ASK_AGAIN)
    return [location.table(LABELS), location.table(LABEL_SETS)]


def add_columns(
    location: BigQueryLocation, client: bigquery.Client, columns: Mapping[str, SoftColumn]
) -> list[bigquery.SchemaField]:
    """Adds the task columns that `labels` lacks. What a column means is written in its description.

    Returns:
        All fields of the table.

    Raises:
        BadInput: if a column is there and means something else, or there is no table.
    """
    failure: Exception | None = None
    for turn in range(_COLUMN_ATTEMPTS):
        time.sleep(0.05 * turn)
        try:
            table = client.get_table(location.table(LABELS), retry=ASK_AGAIN)
        except exceptions.NotFound as error:
            raise missing_tables(location) from error
        nameless = [field.name for field in table.schema if field.description is None]
        if nameless and turn < _COLUMN_ATTEMPTS - 1:  # local-bigquery adds a column before its description
            continue
        missing = _missing_columns(location, table, columns)
        if not missing:
            return list(table.schema)
        table.schema = [*table.schema, *missing]
        try:
            # Carries the table's etag: of two that add columns at once, one reads again.
            client.update_table(table, ["schema"], retry=None)
        except (*_LOST_RACE, *TRANSIENT) as error:
            failure = error
    where = location.table(LABELS)
    raise RuntimeError(f"could not add columns to {where} in {_COLUMN_ATTEMPTS} attempts.") from failure


@functools.cache
def fixed_fields(name: str) -> tuple[bigquery.SchemaField, ...]:
    """The fixed columns of a table, from `schema/<name>.bq.json`."""
    fields = json.loads(shipped_schema(f"{name}.bq.json").read_text())
    return tuple(bigquery.SchemaField.from_api_repr(field) for field in fields)


def _missing_columns(
    location: BigQueryLocation, table: bigquery.Table, columns: Mapping[str, SoftColumn]
) -> list[bigquery.SchemaField]:
    known = {field.name: field.description for field in table.schema}
    missing = []
    for task, column in columns.items():
        name, meaning = SOFT_PREFIX + task, _meaning(column)
        if name not in known:
            missing.append(bigquery.SchemaField(name, "FLOAT64", description=meaning))
        elif known[name] != meaning:
            raise column_conflict(name, location.table(LABELS), str(known[name]), meaning)
    return missing


def _table(location: BigQueryLocation, name: str) -> bigquery.Table:
    table = bigquery.Table(location.table(name), schema=list(fixed_fields(name)))
    table.labels = dict(location.billing_labels)
    return table


def _require_same(wanted: bigquery.Table, found: bigquery.Table) -> None:
    def shape(table: bigquery.Table) -> tuple[Any, ...]:
        partitioning = table.time_partitioning
        return (
            [(field.name, field.field_type, field.mode) for field in table.schema[: len(wanted.schema)]],
            partitioning.field if partitioning else None,
            table.clustering_fields,
        )

    if shape(wanted) != shape(found):
        raise BadInput(
            "a table of that name has another shape",
            where=f"{found.project}.{found.dataset_id}.{found.table_id}",
            expected=str(shape(wanted)),
            got=str(shape(found)),
            fix="Use a dataset of its own for the label store.",
        )


def _expiration(table: bigquery.Table) -> int | None:
    partitioning = table.time_partitioning
    return partitioning.expiration_ms if partitioning else None


def _meaning(column: SoftColumn) -> str:
    return f"kind={column.kind}, link={column.link}, unit={column.unit}, scale={column.scale}"
