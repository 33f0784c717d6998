"""Label store in BigQuery, for production.

`BigQueryLabelStore.publish` takes four steps:

    1. Write a row with state `loading` to `label_sets`. If the process is killed, `labels gc` finds this row.
    2. Load the staged shards into `labels`, under the id of this attempt.
    3. Count rows and distinct example ids in BigQuery.
    4. Set the row's state to `published` in one MERGE. Without `supersede`, the MERGE changes nothing if the
       key has a published set already.

Readers read only sets whose state is `published`, so they never see the rows of an attempt before step 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from google.api_core import exceptions
from google.cloud import bigquery

from components.label_store.base import (
    DamagedSet,
    LabelSetKey,
    LabelSetRecord,
    LabelStore,
    SetFacts,
    ShardWriter,
    SoftColumn,
    StagedShard,
    require_name,
    row_schema,
    unknown_set_error,
)
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABELS, BigQueryLocation
from components.label_store.bigquery.reading import read_rows
from components.label_store.bigquery.registry import (
    BARRED,
    COLLECTED,
    LOADING,
    PUBLISHED,
    Registry,
    missing_tables_error,
)
from components.label_store.bigquery.rows import count_rows, delete_rows, read_duplicated_ids
from components.label_store.bigquery.shards import (
    BigQueryShardWriter,
    delete_staged_shards,
    find_idle_attempts,
    load_shards,
    require_staged_shards,
)
from components.label_store.bigquery.tables import add_columns, make_tables
from components.label_store.publication import (
    collected_attempt_error,
    deduplicate_shards,
    draft_record,
    duplicate_labels_error,
    key_from_set_id,
    make_set_id,
    refuse_faults,
    unknown_column_error,
)

_MAX_LOADS = 3


class BigQueryLabelStore(LabelStore):
    """Store in one dataset, whose tables `initialize` creates. Several processes may use it at once."""

    def __init__(self, location: BigQueryLocation) -> None:
        self._location = location
        self._jobs = JobRunner(location.client())
        self._registry = Registry(location, self._jobs)

    def initialize(self) -> list[str]:
        """Creates the dataset and its tables; see `make_tables`."""
        return make_tables(self._location, self._jobs.client)

    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> BigQueryShardWriter:
        """See `LabelStore`. Writes nothing yet."""
        return BigQueryShardWriter(self._location.staging, make_set_id(key, columns), dict(columns))

    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """See `LabelStore`. Publishes by one MERGE, then reads the outcome from the registry."""
        if not isinstance(writer, BigQueryShardWriter):
            raise TypeError(
                f"publish needs a writer from stage() of this store, got {type(writer).__name__}."
            )
        set_id, key = writer.set_id, key_from_set_id(writer.set_id)
        published = self._published_record(set_id, key, supersede)
        if published is not None:
            return published
        shards = deduplicate_shards(shards)
        refuse_faults(set_id, shards)
        draft = draft_record(set_id, writer.columns, shards, facts)
        require_staged_shards(set_id, shards)
        fields = add_columns(self._location, self._jobs.client, writer.columns)
        self._registry.register(draft)
        self._load(draft, list(writer.columns), shards, fields)
        self._registry.publish(draft, supersede)
        published = self._published_record(set_id, key, supersede=False)
        if published is None:
            raise RuntimeError(f"{set_id}: no published set after the MERGE; check the table label_sets.")
        delete_staged_shards(self._location.staging, set_id)
        return published

    def list_sets(self) -> list[LabelSetRecord]:
        """See `LabelStore`."""
        attempts = self._registry.list_attempts([PUBLISHED])
        return [attempt.record for attempt in attempts if attempt.record is not None]

    def find_set(self, set_id: str) -> LabelSetRecord:
        """See `LabelStore`. Reads only this record."""
        attempt = self._registry.find_attempt(set_id)
        if attempt is None or attempt.state != PUBLISHED or attempt.record is None:
            raise unknown_set_error(set_id)
        return attempt.record

    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """See `LabelStore`. Uses the Storage Read API.

        Raises:
            BadInput: also at the end of the scan, if BigQuery has deleted rows of the set (`retention_days`).
        """
        record = self.find_set(set_id)
        schema = row_schema(list(record.columns))
        for name in columns:
            if name not in schema.names:
                raise unknown_column_error(set_id, self._location.table(LABELS), name, schema.names)
        schema = pa.schema([schema.field(name) for name in columns])
        expected = record.rows if surface is None else record.rows_per_surface.get(surface, 0)
        if not expected:
            return iter(())
        return _check_row_count(read_rows(self._location, record, schema, surface), expected, set_id)

    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """See `LabelStore`. One MERGE writes the pin if the set is published and the span has no pin yet."""
        require_name(fleet, "fleet name")
        self._registry.pin(fleet, span, set_id)
        pinned = self._registry.read_pin(fleet, span)
        if pinned is None:
            raise unknown_set_error(set_id)
        if pinned != set_id:  # Keep the existing pin, but raise if `set_id` is not a published set.
            self.find_set(set_id)
        return pinned

    def read_pin(self, fleet: str, span: int) -> str | None:
        """See `LabelStore`."""
        return self._registry.read_pin(require_name(fleet, "fleet name"), span)

    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """See `LabelStore`. Bars the attempts, then deletes rows and files.

        If a call is killed, the next call completes the deletion. Staged files of published
        sets are deleted too.
        """
        staging = self._location.staging
        attempts = self._registry.list_attempts([LOADING, PUBLISHED, BARRED])
        idle = find_idle_attempts(staging, older_than_seconds)
        old = idle - {attempt.set_id for attempt in attempts}
        for attempt in attempts:
            is_old = attempt.state == LOADING and attempt.age_seconds > older_than_seconds
            if is_old or attempt.state == BARRED:
                old.add(attempt.set_id)
        if dry_run:
            return sorted(old)
        for set_id in idle & {attempt.set_id for attempt in attempts if attempt.state == PUBLISHED}:
            delete_staged_shards(staging, set_id)
        if not old:
            return []
        self._registry.bar(sorted(old))
        return self._delete_barred(old)

    def delete_unpinned(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """See `LabelStore`. Bars the sets, then deletes their rows."""
        old = self._registry.list_unpinned(older_than_seconds)
        if dry_run or not old:
            return old
        # Bars only sets that are still unpinned.
        self._registry.bar_unpinned(older_than_seconds)
        return self._delete_barred(set(old))

    def _delete_barred(self, set_ids: set[str]) -> list[str]:
        """Deletes rows and files of those attempts in `set_ids` that are barred; returns their sorted ids."""
        barred = [attempt for attempt in self._registry.list_attempts([BARRED]) if attempt.set_id in set_ids]
        for attempt in barred:
            if attempt.record is not None:
                delete_rows(self._location, self._jobs, attempt.record)
            delete_staged_shards(self._location.staging, attempt.set_id)
        deleted = sorted(attempt.set_id for attempt in barred)
        if deleted:
            self._registry.mark_collected(deleted)
        return deleted

    def _published_record(self, set_id: str, key: LabelSetKey, supersede: bool) -> LabelSetRecord | None:
        """Returns the newest published record of the key, or None if there is none.

        With `supersede`, also returns None until this attempt itself is published.

        Raises:
            BadInput: if the attempt is barred or collected.
        """
        state, newest = self._registry.read_outcome(set_id, key)
        if state in (BARRED, COLLECTED):
            raise collected_attempt_error(set_id)
        return None if supersede and state != PUBLISHED else newest

    def _load(
        self,
        draft: LabelSetRecord,
        tasks: Sequence[str],
        shards: Sequence[StagedShard],
        fields: Sequence[bigquery.SchemaField],
    ) -> None:
        """Loads the shards and checks that `labels` contains each row of the attempt exactly once.

        If the server crashes during a load, it may report the job as failed although it has loaded rows. Then
        all rows of the attempt are deleted and loaded again. Readers do not see these rows yet.

        Raises:
            BadInput: if an example id appears twice, or the table `labels` is missing.
            RuntimeError: if the number of rows is still wrong after `_MAX_LOADS` loads.
        """
        if not draft.rows:
            return
        for load_number in range(_MAX_LOADS):
            try:
                load_shards(self._location, self._jobs, draft.set_id, tasks, shards, fields, load_number)
            except exceptions.NotFound as error:
                raise missing_tables_error(self._location) from error
            rows, distinct_ids = count_rows(self._location, self._jobs, draft)
            if rows == draft.rows == distinct_ids:
                return
            if rows == draft.rows:
                duplicates = read_duplicated_ids(self._location, self._jobs, draft)
                raise duplicate_labels_error(draft.set_id, duplicates)
            delete_rows(self._location, self._jobs, draft)
        raise RuntimeError(
            f"{draft.set_id}: expected {draft.rows} loaded rows, got {rows} in the last load; "
            "nothing was published. Run the step again."
        )


def _check_row_count(
    batches: Iterator[pa.RecordBatch], expected: int, set_id: str
) -> Iterator[pa.RecordBatch]:
    """Yields the batches; raises DamagedSet at the end if they do not have `expected` rows."""
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        yield batch
    if rows != expected:
        raise DamagedSet(
            "rows of a label set are missing",
            where=f"label set {set_id}",
            expected=f"{expected} rows",
            got=str(rows),
            fix="BigQuery deletes rows after retention_days. Raise retention_days in the URI, run "
            "`rankdistill labels init` and label the span again.",
        )
