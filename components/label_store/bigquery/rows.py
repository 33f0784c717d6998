"""Counts and deletes the rows of one attempt in the table `labels`."""

from __future__ import annotations

from typing import Any

from google.cloud import bigquery

from components.label_store.base import EVENT_DATE, LabelSetRecord
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABELS, BigQueryLocation
from components.label_store.bigquery.tables import LABEL_SET
from eventlog.rows import EXAMPLE_ID

# `labels` is partitioned by date, and BigQuery requires a filter on the partitions. `labels` is clustered by
# set id, so BigQuery reads only the blocks of this set.
_WHERE = f"{LABEL_SET} = @set_id AND {EVENT_DATE} BETWEEN @first_date AND @last_date"


def count_rows(location: BigQueryLocation, jobs: JobRunner, record: LabelSetRecord) -> tuple[int, int]:
    """Returns the number of rows of an attempt and the number of its distinct example ids."""
    counts = f"COUNT(*) AS num_rows, COUNT(DISTINCT {EXAMPLE_ID}) AS num_ids"
    sql = f"SELECT {counts} FROM `{{table}}` WHERE {_WHERE}"  # noqa: S608 - only constants
    (row,) = _run(location, jobs, sql, record).result()
    return row.num_rows, row.num_ids


def read_duplicated_ids(location: BigQueryLocation, jobs: JobRunner, record: LabelSetRecord) -> list[str]:
    """Returns the first three example ids, in sorted order, that have several rows in an attempt."""
    sql = (
        f"SELECT {EXAMPLE_ID} FROM `{{table}}` WHERE {_WHERE} "  # noqa: S608 - only constants
        f"GROUP BY {EXAMPLE_ID} HAVING COUNT(*) > 1 ORDER BY {EXAMPLE_ID} LIMIT 3"
    )
    return [row[0] for row in _run(location, jobs, sql, record).result()]


def delete_rows(location: BigQueryLocation, jobs: JobRunner, record: LabelSetRecord) -> None:
    """Deletes the rows of an attempt."""
    if record.first_date:
        sql = f"DELETE FROM `{{table}}` WHERE {_WHERE}"  # noqa: S608 - only constants
        _run(location, jobs, sql, record)


def _run(location: BigQueryLocation, jobs: JobRunner, sql: str, record: LabelSetRecord) -> Any:
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("set_id", "STRING", record.set_id),
            bigquery.ScalarQueryParameter("first_date", "DATE", record.first_date),
            bigquery.ScalarQueryParameter("last_date", "DATE", record.last_date),
        ],
        labels=dict(location.billing_labels),
        use_query_cache=False,
    )
    return jobs.run_statement(sql.format(table=location.table(LABELS)), config)
