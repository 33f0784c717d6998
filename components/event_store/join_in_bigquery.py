"""The join of a surface's impressions with their soft labels, run by BigQuery where both lie there.

Gives the same rows, splits and shards as `transforms.join_labels`, without reading anybody else's surface.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from components.event_store.event_table import SPAN, EventTable, in_log_columns
from components.label_store.base import EVENT_DATE, LabelSetRecord
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABELS
from components.label_store.bigquery.tables import LABEL_SET
from components.transforms.encode_events import split_rows
from components.transforms.join_labels import (
    JoinReport,
    cut_buckets,
    refuse_repeated_examples,
    write_report,
)
from components.transforms.shards import shard_name, split_folder, write_shard
from eventlog.rows import EXAMPLE_ID, IMPRESSION_SPAN, LOG_SCHEMA, SOFT_PREFIX, SURFACE

_FOUND = "label_found"
_LABELS_WHERE = (
    f"{LABEL_SET} IN UNNEST(@sets) AND {EVENT_DATE} BETWEEN @first AND @last AND {SURFACE} = @surface"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigQueryJoin:
    """What to join.

    Attributes:
        events: the impressions.
        output_uri: root of the Examples artifact to write.
        span: the examples' span.
        surface: the surface to keep.
        records: label sets in the same place: the span's own, and those of the matured rows' spans.
        delayed: distilled task → whether its hard label comes with the matured row.
        num_buckets: how many shards each split will have.
    """

    events: EventTable
    output_uri: str
    span: int
    surface: str
    records: Sequence[LabelSetRecord]
    delayed: Mapping[str, bool]
    num_buckets: int = 4

    def run(self) -> JoinReport:
        """Joins, writes the shards, and the report beside the splits.

        Raises:
            BadInput: if the table of impressions cannot be used, or an id appears twice.
        """
        self.events.require_columns()
        joined, found = self._joined()
        refuse_repeated_examples({"all": joined}, self.events.name)
        self._write(joined)
        fresh = pc.equal(joined[IMPRESSION_SPAN], self.span)
        report = JoinReport(
            surface=self.surface,
            fresh_rows=pc.sum(fresh).as_py() or 0,
            labelled_fresh_rows=self._count_labelled(joined.filter(fresh), found.filter(fresh), fresh=True),
            matured_rows=pc.sum(pc.invert(fresh)).as_py() or 0,
            labelled_matured_rows=self._count_labelled(
                joined.filter(pc.invert(fresh)), found.filter(pc.invert(fresh)), fresh=False
            ),
            labels_without_example=self._num_labels() - (pc.sum(found).as_py() or 0),
        )
        write_report(report, self.output_uri, [record.set_id for record in self.records])
        return report

    def _joined(self) -> tuple[pa.Table, pa.ChunkedArray]:
        """The log's columns and a soft one a task, and which rows have a label row."""
        soft = [f"{self._own(task)} AS {SOFT_PREFIX}{task}" for task in self.delayed]
        sql = f"""
            SELECT {", ".join(f"e.{name}" for name in LOG_SCHEMA.names)}, {", ".join(soft)},
              l.{LABEL_SET} IS NOT NULL AS {_FOUND}
            FROM `{self.events.name}` AS e
            LEFT JOIN (SELECT * FROM `{self._labels}` WHERE {_LABELS_WHERE}) AS l
            ON l.{EXAMPLE_ID} = e.{EXAMPLE_ID}
            WHERE e.{SPAN} = @span AND e.{SURFACE} = @surface"""
        rows = self._query(sql).to_arrow(bqstorage_client=self.events.location.read_client())
        fields = [pa.field(SOFT_PREFIX + task, pa.float32()) for task in self.delayed]
        schema = pa.schema([*LOG_SCHEMA, *fields, pa.field(_FOUND, pa.bool_())])
        table = in_log_columns(rows, schema)
        return table.drop([_FOUND]), table[_FOUND]

    def _own(self, task: str) -> str:
        """A task's label in the rows that have its hard label; null in the others, and if no set has it."""
        column = SOFT_PREFIX + task
        if not any(task in record.columns for record in self.records):
            return "CAST(NULL AS FLOAT64)"
        sign = "<" if self.delayed[task] else "="
        return f"IF(e.{IMPRESSION_SPAN} {sign} e.{SPAN}, l.{column}, NULL)"

    def _write(self, joined: pa.Table) -> None:
        for split, rows in split_rows(joined, self.span).items():
            buckets = dict(cut_buckets(pa.Table.from_batches([rows]), self.num_buckets))
            for number in range(self.num_buckets):
                name = shard_name(self.span, number, self.num_buckets)
                path = f"{split_folder(self.output_uri, split)}/{name}"
                write_shard(path, buckets.get(number, rows.slice(0, 0)))

    def _count_labelled(self, rows: pa.Table, found: pa.ChunkedArray, *, fresh: bool) -> int:
        own = [task for task, is_delayed in self.delayed.items() if is_delayed != fresh]
        if not own:
            return pc.sum(found).as_py() or 0
        labelled = pa.array([False] * rows.num_rows, pa.bool_())
        for task in own:
            labelled = pc.or_(labelled, rows[SOFT_PREFIX + task].is_valid())
        return pc.sum(labelled).as_py() or 0

    def _num_labels(self) -> int:
        sql = f"SELECT COUNT(*) FROM `{self._labels}` WHERE {_LABELS_WHERE}"
        (row,) = self._query(sql)
        return int(row[0])

    @property
    def _labels(self) -> str:
        return self.events.location.table(LABELS)

    def _query(self, sql: str) -> Any:
        # A set without rows has no dates; where none has any, no date will do as well as any other.
        dates = [date for each in self.records if each.rows for date in (each.first_date, each.last_date)]
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter("span", "INT64", self.span),
                bigquery.ScalarQueryParameter("surface", "STRING", self.surface),
                bigquery.ArrayQueryParameter("sets", "STRING", [record.set_id for record in self.records]),
                bigquery.ScalarQueryParameter("first", "DATE", min(dates, default="0001-01-01")),
                bigquery.ScalarQueryParameter("last", "DATE", max(dates, default="0001-01-01")),
            ],
            labels=dict(self.events.location.billing_labels),
        )
        return JobRunner(self.events.location.client()).run_statement(sql, config).result()
