"""Joins a surface's impressions with their soft labels inside BigQuery, which must store both.

Writes the same rows, splits and shards as `transforms.join_labels`, but reads only the rows of the surface.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from components.event_store.event_table import SPAN, EventTable, convert_and_sort, require_column_name
from components.history.lookup import add_history, complete_here
from components.history.settings import HistorySource
from components.history.state import open_state
from components.label_store.base import EVENT_DATE, LabelSetRecord
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABELS
from components.label_store.bigquery.tables import LABEL_SET
from components.transforms.encode_events import split_rows
from components.transforms.join_labels import cut_buckets, refuse_repeated_examples
from components.transforms.join_report import JoinReport, write_report
from components.transforms.shards import split_folder, write_shard
from eventlog.columns import LogColumns
from eventlog.parquet_files import code_refused
from eventlog.rows import EXAMPLE_ID, IMPRESSION_SPAN, SOFT_PREFIX, SURFACE
from models.shard_names import shard_name

_HAS_LABEL = "has_label"
_OF_SURFACE = f"{SURFACE} IN UNNEST(@surfaces)"
_LABELS_CONDITION = (
    f"{LABEL_SET} IN UNNEST(@sets) AND {EVENT_DATE} BETWEEN @first AND @last AND {_OF_SURFACE}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigQueryJoin:
    """Inputs and output of the join.

    Attributes:
        events: table of impressions.
        columns: the columns of `events` to read. Matured rows are left out if no task has their delay (`span`
            minus `impression_span`).
        output_uri: root of the Examples artifact to write.
        span: span of the examples.
        surface: surface of the examples.
        records: records of the label sets of the span, and of the spans of its matured rows' impressions. The
            dataset of `events.location` must store these sets.
        delays: task of the teacher → number of spans after which the log brings its hard label, see `Task`.
        num_buckets: number of shards in each split.
        history: the history whose columns are added to the rows; None if the deployment has none.
        was: earlier name of the surface, see `JoinSoftLabels`.

    Raises:
        BadInput: if a column's or a task's name cannot be part of SQL.
    """

    events: EventTable
    columns: LogColumns
    output_uri: str
    span: int
    surface: str
    records: Sequence[LabelSetRecord]
    delays: Mapping[str, int]
    num_buckets: int = 4
    history: HistorySource | None = None
    was: str | None = None

    def __post_init__(self) -> None:
        for name in (*self.columns.schema.names, *self.delays):
            require_column_name(name)

    def run(self) -> JoinReport:
        """Joins the rows, writes the shards and the report, and returns the report.

        Raises:
            BadInput: if the table or a column is missing, or an example id appears twice.
        """
        self.events.require_columns(self.columns)
        joined, has_label = self._join()
        refuse_repeated_examples({"all": joined}, f"{self.events.name} and the joined label sets")
        self._write(self._with_history(joined))
        fresh = pc.equal(joined[IMPRESSION_SPAN], self.span)
        matured = pc.invert(fresh)
        report = JoinReport(
            surface=self.surface,
            fresh_rows=pc.sum(fresh).as_py() or 0,
            labelled_fresh_rows=self._num_labelled(joined.filter(fresh), has_label.filter(fresh), fresh=True),
            matured_rows=pc.sum(matured).as_py() or 0,
            labelled_matured_rows=self._num_labelled(
                joined.filter(matured), has_label.filter(matured), fresh=False
            ),
            labels_without_example=self._num_label_rows() - (pc.sum(has_label).as_py() or 0),
        )
        write_report(report, self.output_uri, [record.set_id for record in self.records])
        return report

    def _join(self) -> tuple[pa.Table, pa.ChunkedArray]:
        """Returns the rows with columns `soft_<task>`; and a bool per row: whether it has a label row."""
        soft = [f"{self._soft_label_sql(task)} AS {SOFT_PREFIX}{task}" for task in self.delays]
        sql = f"""
            SELECT {", ".join([*self._event_columns_sql(), *soft])},
              l.{LABEL_SET} IS NOT NULL AS {_HAS_LABEL}
            FROM `{self.events.name}` AS e
            LEFT JOIN (SELECT * FROM `{self._labels_table}` WHERE {_LABELS_CONDITION}) AS l
            ON l.{EXAMPLE_ID} = e.{EXAMPLE_ID}
            WHERE e.{SPAN} = @span AND e.{_OF_SURFACE}
            AND e.{SPAN} - e.{IMPRESSION_SPAN} IN UNNEST(@ages)"""  # noqa: S608 - all names are checked
        with code_refused(self.events.name):
            rows = self._query(sql).to_arrow(bqstorage_client=self.events.location.read_client())
        fields = [pa.field(SOFT_PREFIX + task, pa.float32()) for task in self.delays]
        schema = pa.schema([*self.columns.schema, *fields, pa.field(_HAS_LABEL, pa.bool_())])
        table = convert_and_sort(rows, schema)
        return table.drop([_HAS_LABEL]), table[_HAS_LABEL]

    def _event_columns_sql(self) -> list[str]:
        """Returns the columns of the impressions; without the optional ones that the table lacks."""
        missing = self.events.missing_columns(self.columns.schema.names)
        return [f"e.`{name}`" for name in self.columns.schema.names if name not in missing]

    def _soft_label_sql(self, task: str) -> str:
        """Returns the SQL expression of a task's soft label; null if no set has the task.

        A task has soft labels only in the rows of its delay, those that can have its hard labels.
        """
        column = SOFT_PREFIX + task
        if not any(task in record.columns for record in self.records):
            return "CAST(NULL AS FLOAT64)"
        return f"IF(e.{IMPRESSION_SPAN} = e.{SPAN} - {self.delays[task]:d}, l.{column}, NULL)"

    def _with_history(self, joined: pa.Table) -> pa.Table:
        if self.history is None:
            return joined
        spans = [self.span - age for age in self.columns.ages]
        return add_history(complete_here(open_state(self.history, self.columns), spans), joined)

    def _write(self, joined: pa.Table) -> None:
        for split, rows in split_rows(joined, self.span).items():
            rows_by_bucket = dict(cut_buckets(pa.Table.from_batches([rows]), self.num_buckets))
            for bucket in range(self.num_buckets):
                name = shard_name(self.span, bucket, self.num_buckets)
                path = f"{split_folder(self.output_uri, split)}/{name}"
                write_shard(path, rows_by_bucket.get(bucket, rows.slice(0, 0)))

    def _num_labelled(self, rows: pa.Table, has_label: pa.ChunkedArray, *, fresh: bool) -> int:
        tasks = [task for task, delay in self.delays.items() if (delay == 0) == fresh]
        # If no task has soft labels in these rows, count the rows with a label row, as `join_rows` does.
        if not tasks:
            return pc.sum(has_label).as_py() or 0
        labelled = pa.array([False] * rows.num_rows, pa.bool_())
        for task in tasks:
            labelled = pc.or_(labelled, rows[SOFT_PREFIX + task].is_valid())
        return pc.sum(labelled).as_py() or 0

    def _num_label_rows(self) -> int:
        sql = f"SELECT COUNT(*) FROM `{self._labels_table}` WHERE {_LABELS_CONDITION}"  # noqa: S608 - a checked name
        (row,) = self._query(sql)
        return int(row[0])

    @property
    def _labels_table(self) -> str:
        return self.events.location.table(LABELS)

    def _query(self, sql: str) -> Any:
        # A set without rows has no dates. If no set has rows, any date works.
        not_empty = [record for record in self.records if record.rows]
        first_date = min((record.first_date for record in not_empty), default="0001-01-01")
        last_date = max((record.last_date for record in not_empty), default="0001-01-01")
        surfaces = [self.surface, *([self.was] if self.was is not None else [])]
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter("span", "INT64", self.span),
                bigquery.ArrayQueryParameter("surfaces", "STRING", surfaces),
                bigquery.ArrayQueryParameter("ages", "INT64", self.columns.ages),
                bigquery.ArrayQueryParameter("sets", "STRING", [record.set_id for record in self.records]),
                bigquery.ScalarQueryParameter("first", "DATE", first_date),
                bigquery.ScalarQueryParameter("last", "DATE", last_date),
            ],
            labels=dict(self.events.location.billing_labels),
        )
        return JobRunner(self.events.location.client()).run_statement(sql, config).result()
