"""Registry of label sets and pins: the table `label_sets` in BigQuery.

Every change is one MERGE that also increments a counter in one row, the *guard* row. If two statements
update the same row, BigQuery runs them one after the other, or fails one. If two statements only insert,
BigQuery runs both at once. So the guard row puts all changes in an order. This order ensures three rules:

    1. The state of an attempt changes only from `loading` to `published` or `barred`, from `published` to
       `barred` (when an old set is deleted), and from `barred` to `collected`.
    2. Of several attempts with one key, the first that publishes wins.
    3. A pin is written only once.

Reference: BigQuery, Data manipulation language, "DML statement conflicts".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic
from google.api_core import exceptions
from google.cloud import bigquery

from components.label_store.base import LabelSetKey, LabelSetRecord
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABEL_SETS, BigQueryLocation
from eventlog.errors import BadInput

LOADING, PUBLISHED, BARRED, COLLECTED = "loading", "published", "barred", "collected"
_RECORD_ADAPTER = pydantic.TypeAdapter(LabelSetRecord)  # Built once: building is slow.

_MERGE = """
MERGE `{table}` AS T
USING (
  SELECT 'guard' AS entry, 'guard' AS state, CAST(NULL AS STRING) AS set_id, CAST(NULL AS STRING) AS set_key,
    CAST(NULL AS INT64) AS revision, CAST(NULL AS STRING) AS record
  UNION ALL
  {change}
) AS S
ON T.entry = S.entry
WHEN MATCHED AND S.state = 'guard' THEN UPDATE SET revision = COALESCE(T.revision, 0) + 1
WHEN MATCHED AND CONCAT(T.state, '>', S.state) IN
  ('loading>published', 'loading>barred', 'published>barred', 'barred>collected')
  THEN UPDATE SET state = S.state, revision = COALESCE(S.revision, T.revision),
    record = COALESCE(S.record, T.record), written_ms = UNIX_MILLIS(CURRENT_TIMESTAMP())
WHEN NOT MATCHED THEN INSERT (entry, state, set_id, set_key, revision, record, written_ms)
  VALUES (S.entry, S.state, S.set_id, S.set_key, S.revision, S.record, UNIX_MILLIS(CURRENT_TIMESTAMP()))
"""
# Each SELECT below is a `{change}` of `_MERGE`; only `_IS_UNPINNED` is a condition.
_REGISTER = "SELECT @set_id, 'loading', @set_id, @set_key, NULL, @record"
_PUBLISH = """SELECT @set_id, 'published', @set_id, @set_key, IFNULL(MAX(revision), 0) + 1, @record
  FROM `{table}` WHERE set_key = @set_key
  HAVING @supersede OR COUNTIF(state = 'published') = 0"""
_PIN_SET = """SELECT @entry, 'pin', set_id, NULL, NULL, NULL
  FROM `{table}` WHERE entry = @set_id AND state = 'published'"""
_BAR = """SELECT attempt, 'barred', attempt, NULL, NULL, NULL
  FROM UNNEST(@set_ids) AS attempt
  WHERE attempt NOT IN (SELECT entry FROM `{table}` WHERE state = 'published')"""
_IS_UNPINNED = """state = 'published' AND written_ms < UNIX_MILLIS(CURRENT_TIMESTAMP()) - @age_ms
  AND set_id NOT IN (SELECT set_id FROM `{table}` WHERE state = 'pin')"""
_BAR_UNPINNED = (
    f"SELECT entry, 'barred', set_id, set_key, revision, record FROM `{{table}}` WHERE {_IS_UNPINNED}"  # noqa: S608 - only constants
)
_MARK_COLLECTED = "SELECT attempt, 'collected', attempt, NULL, NULL, NULL FROM UNNEST(@set_ids) AS attempt"


@dataclasses.dataclass(frozen=True)
class Attempt:
    """The registry's row of one attempt.

    Attributes:
        set_id: id of the attempt.
        state: `loading`, `published`, `barred` (invisible, and can no longer be published) or `collected`
            (barred, and its rows and files are deleted).
        record: record of the set; None if the attempt was barred before it began to load.
        age_seconds: seconds since the state last changed, by BigQuery's clock.
    """

    set_id: str
    state: str
    record: LabelSetRecord | None
    age_seconds: float


@dataclasses.dataclass(frozen=True)
class Registry:
    """The registry of one dataset.

    Attributes:
        location: the dataset.
        jobs: runs the statements.
    """

    location: BigQueryLocation
    jobs: JobRunner

    def register(self, draft: LabelSetRecord) -> None:
        """Adds an attempt in state `loading`, so that `labels gc` finds it if the process is killed.

        Args:
            draft: record of the attempt, from `draft_record`.
        """
        self._change(_REGISTER, set_id=draft.set_id, set_key=draft.key.prefix, record=_to_json(draft))

    def publish(self, draft: LabelSetRecord, supersede: bool) -> None:
        """Publishes an attempt, unless the key has a published set and `supersede` is False.

        Read the outcome with `read_outcome`.
        """
        self._change(
            _PUBLISH,
            set_id=draft.set_id,
            set_key=draft.key.prefix,
            record=_to_json(draft),
            supersede=supersede,
        )

    def bar(self, set_ids: Sequence[str]) -> None:
        """Bars attempts from being published; keeps published sets."""
        self._change(_BAR, set_ids=list(set_ids))

    def bar_unpinned(self, older_than_seconds: float) -> None:
        """Bars unpinned published sets older than `older_than_seconds`. Readers no longer see barred sets."""
        self._change(_BAR_UNPINNED, age_ms=int(older_than_seconds * 1000))

    def list_unpinned(self, older_than_seconds: float) -> list[str]:
        """Returns the sorted ids of the sets that `bar_unpinned` would bar."""
        age_ms = int(older_than_seconds * 1000)
        return sorted(attempt.set_id for attempt in self._read_attempts(_IS_UNPINNED, age_ms=age_ms))

    def mark_collected(self, set_ids: Sequence[str]) -> None:
        """Changes barred attempts to `collected`, after their rows and files have been deleted."""
        self._change(_MARK_COLLECTED, set_ids=list(set_ids))

    def pin(self, fleet: str, span: int, set_id: str) -> None:
        """Pins a set if it is published and the fleet has no pin for the span. Otherwise does nothing."""
        self._change(_PIN_SET, entry=_pin_entry(fleet, span), set_id=set_id)

    def read_pin(self, fleet: str, span: int) -> str | None:
        """Returns the id of the set that a fleet has pinned for a span, or None."""
        rows = self._query("SELECT set_id FROM `{table}` WHERE entry = @entry", entry=_pin_entry(fleet, span))
        return rows[0].set_id if rows else None

    def list_attempts(self, states: Sequence[str]) -> list[Attempt]:
        """Returns the attempts in one of these states, oldest first."""
        return self._read_attempts("state IN UNNEST(@states)", states=list(states))

    def find_attempt(self, set_id: str) -> Attempt | None:
        """Returns the attempt with this id, or None."""
        attempts = self._read_attempts("entry = @set_id", set_id=set_id)
        return attempts[0] if attempts else None

    def read_outcome(self, set_id: str, key: LabelSetKey) -> tuple[str | None, LabelSetRecord | None]:
        """Returns an attempt's state (None: unregistered) and the key's newest published record (or None)."""
        attempts = self._read_attempts(
            "entry = @set_id OR (set_key = @set_key AND state = 'published')",
            set_id=set_id,
            set_key=key.prefix,
        )
        states = {attempt.set_id: attempt.state for attempt in attempts}
        records = [attempt.record for attempt in attempts if attempt.state == PUBLISHED and attempt.record]
        return states.get(set_id), max(records, key=lambda record: record.revision, default=None)

    def _read_attempts(self, where: str, **values: Any) -> list[Attempt]:
        rows = self._query(
            "SELECT entry, state, revision, record, written_ms, "  # noqa: S608 - callers pass constants
            "UNIX_MILLIS(CURRENT_TIMESTAMP()) - written_ms AS age_ms "
            f"FROM `{{table}}` WHERE ({where}) AND state NOT IN ('pin', 'guard') "
            "ORDER BY written_ms, revision, entry",
            **values,
        )
        return [_parse_attempt(row) for row in rows]

    def _change(self, change: str, **values: Any) -> None:
        table = self.location.table(LABEL_SETS)
        sql = _MERGE.format(table=table, change=change.format(table=table))
        self.jobs.run_statement(sql, self._config(values))

    def _query(self, sql: str, **values: Any) -> list[Any]:
        sql, config = sql.format(table=self.location.table(LABEL_SETS)), self._config(values)
        try:
            return list(self.jobs.client.query_and_wait(sql, job_config=config))
        except exceptions.Conflict:
            # The answer was lost, and the client has submitted the same job id again.
            return list(self.jobs.run_statement(sql, config).result())
        except exceptions.NotFound as error:
            raise missing_tables_error(self.location) from error

    def _config(self, values: Mapping[str, Any]) -> bigquery.QueryJobConfig:
        return bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in values.items()],
            labels=dict(self.location.billing_labels),
            use_query_cache=False,
        )


def missing_tables_error(location: BigQueryLocation) -> BadInput:
    """Error for a dataset that lacks a table that `rankdistill labels init` creates."""
    return BadInput(
        "no label store in this dataset",
        where=location.uri,
        expected=f"tables {location.table('labels')} and {location.table(LABEL_SETS)}",
        got="at least one table is missing",
        fix="Run `rankdistill labels init`.",
    )


def _parse_attempt(row: Any) -> Attempt:
    record = None
    if row.record is not None:
        record = _RECORD_ADAPTER.validate_json(row.record)
        record = dataclasses.replace(record, revision=row.revision or 0, created_ms=row.written_ms)
    return Attempt(row.entry, row.state, record, row.age_ms / 1000)


def _to_json(draft: LabelSetRecord) -> str:
    return _RECORD_ADAPTER.dump_json(draft).decode()


def _pin_entry(fleet: str, span: int) -> str:
    return f"pin:{fleet}:{span:05d}"


def _parameter(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    sql_types = {bool: "BOOL", int: "INT64", str: "STRING"}
    return bigquery.ScalarQueryParameter(name, sql_types[type(value)], value)
