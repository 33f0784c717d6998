"""Label sets in BigQuery: for production.

Publishing a set takes four steps, and only the last makes it visible:

    begin    a row `loading` in `label_sets`, so that a dead attempt's rows can be found
    load     staged shards into `labels`, under an id of the attempt's own
    check    rows and distinct ids, counted by BigQuery
    publish  one MERGE that turns the row to `published`, if no other attempt was first

Readers go by `label_sets` alone. What a killed attempt left in `labels` no reader ever sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from google.api_core import exceptions
from google.cloud import bigquery

from components.label_store.base import (
    LabelSetKey,
    LabelSetRecord,
    LabelStore,
    SetFacts,
    ShardWriter,
    SoftColumn,
    StagedShard,
    require_name,
    row_schema,
    unknown_set,
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
    missing_tables,
)
from components.label_store.bigquery.rows import count_rows, delete_rows, repeated_ids
from components.label_store.bigquery.shards import (
    BigQueryShardWriter,
    load_shards,
    remove_staged,
    require_staged,
    staged_before,
)
from components.label_store.bigquery.tables import add_columns, make_tables
from components.label_store.publication import (
    collected,
    draft_record,
    key_of,
    labelled_twice,
    new_set_id,
    no_such_column,
    one_per_name,
    refuse_faults,
)

_LOADS = 3


class BigQueryLabelStore(LabelStore):
    """A store in one dataset, whose tables `make_tables` has made; safe for many processes at once."""

    def __init__(self, location: BigQueryLocation) -> None:
        self._location = location
        self._jobs = JobRunner(location.client())
        self._registry = Registry(location, self._jobs)

    def initialize(self) -> list[str]:
        """Makes the tables; see `make_tables`."""
        return make_tables(self._location, self._jobs.client)

    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> BigQueryShardWriter:
        """Begins an attempt: nothing but a name as yet, unless Beam is to write into the table itself."""
        set_id, location = new_set_id(key, columns), self._location
        if location.sink == "shards":
            return BigQueryShardWriter(location.staging, set_id, dict(columns))
        add_columns(location, self._jobs.client, columns)
        self._registry.begin(_open_draft(set_id, columns))
        table = f"{location.project}:{location.dataset}.{LABELS}"
        return BigQueryShardWriter(location.staging, set_id, dict(columns), table)

    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """Loads, checks, and publishes by one MERGE; whatever that answers, the registry decides who won."""
        if not isinstance(writer, BigQueryShardWriter):
            raise TypeError(f"publish what this store's stage() began, got {type(writer).__name__}.")
        set_id, key = writer.set_id, key_of(writer.set_id)
        decided = self._decide(set_id, key, supersede)
        if decided is not None:
            return decided
        chosen = one_per_name(shards)
        refuse_faults(set_id, chosen)
        draft = draft_record(set_id, writer.columns, chosen, facts)
        if writer.stock_table is None:
            require_staged(set_id, chosen)
            fields = add_columns(self._location, self._jobs.client, writer.columns)
            self._registry.begin(draft)
            self._load(draft, list(writer.columns), chosen, fields)
        else:
            self._check(draft)
        self._registry.publish(draft, supersede)
        published = self._decide(set_id, key, supersede=False)
        if published is None:
            raise RuntimeError(f"{set_id} was neither published nor refused; look at label_sets.")
        remove_staged(self._location.staging, set_id)
        return published

    def list_sets(self) -> list[LabelSetRecord]:
        """Records of the sets whose state is `published`."""
        return [entry.record for entry in self._registry.entries([PUBLISHED]) if entry.record is not None]

    def find_set(self, set_id: str) -> LabelSetRecord:
        """The record of a published set, without reading the others."""
        entry = self._registry.entry(set_id)
        if entry is None or entry.state != PUBLISHED or entry.record is None:
            raise unknown_set(set_id, "published set")
        return entry.record

    def resolve_set(self, key: LabelSetKey) -> LabelSetRecord | None:
        """The newest revision for a key, without reading other keys."""
        return self._registry.newest(key)

    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Reads by the Storage Read API and counts what it read: a set whose rows expire is no set."""
        record = self.find_set(set_id)
        known = row_schema(list(record.columns))
        unknown = [name for name in columns if name not in known.names]
        if unknown:
            raise no_such_column(set_id, self._location.table(LABELS), unknown[0], known.names)
        schema = pa.schema([known.field(name) for name in columns])
        expected = record.rows if surface is None else record.rows_per_surface.get(surface, 0)
        if not expected:
            return iter(())
        return _counted(read_rows(self._location, record, schema, surface), expected, set_id)

    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """One MERGE that writes the pin if there is none and the set is published."""
        require_name(fleet, "fleet name")
        self._registry.pin(fleet, span, set_id)
        pinned = self._registry.read_pin(fleet, span)
        # An earlier pin stands, but whoever names a set that is none shall hear of it.
        if pinned is None or (pinned != set_id and self._state(set_id) != PUBLISHED):
            raise unknown_set(set_id, "published set")
        return pinned

    def read_pin(self, fleet: str, span: int) -> str | None:
        """The fleet's pin of a span, or None."""
        return self._registry.read_pin(require_name(fleet, "fleet name"), span)

    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Bars old attempts, then removes their rows and files; what a kill interrupts the next run ends."""
        staging = self._location.staging
        entries = {entry.set_id: entry for entry in self._registry.entries([LOADING, PUBLISHED, BARRED])}
        old = staged_before(staging, older_than_seconds) - set(entries)
        old |= {
            entry.set_id
            for entry in entries.values()
            if entry.state == BARRED or (entry.state == LOADING and entry.age_seconds > older_than_seconds)
        }
        if dry_run:
            return sorted(old)
        published = {set_id for set_id, entry in entries.items() if entry.state == PUBLISHED}
        for set_id in staged_before(staging, older_than_seconds) & published:
            remove_staged(staging, set_id)
        if not old:
            return []
        self._registry.bar(sorted(old))
        barred = [entry for entry in self._registry.entries([BARRED]) if entry.set_id in old]
        for entry in barred:
            if entry.record is not None:
                delete_rows(self._location, self._jobs, entry.record)
            remove_staged(staging, entry.set_id)
        removed = sorted(entry.set_id for entry in barred)
        self._registry.mark_collected(removed)
        return removed

    def delete_expired(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Bars what has passed its retention and is in no pin, then removes its rows."""
        old = self._registry.expirable(older_than_seconds)
        if dry_run or not old:
            return old
        self._registry.expire(older_than_seconds)
        kept = {record.set_id for record in self.list_sets()}  # One may have been pinned meanwhile.
        self.delete_unpublished(older_than_seconds=float("inf"))
        return [set_id for set_id in old if set_id not in kept]

    def _decide(self, set_id: str, key: LabelSetKey, supersede: bool) -> LabelSetRecord | None:
        """The record to return if there is nothing left to publish; None if it is this attempt's turn."""
        state, newest = self._registry.standing(set_id, key)
        if state in (BARRED, COLLECTED):
            raise collected(set_id)
        return None if supersede and state != PUBLISHED else newest

    def _state(self, set_id: str) -> str | None:
        entry = self._registry.entry(set_id)
        return entry.state if entry is not None else None

    def _load(
        self,
        draft: LabelSetRecord,
        tasks: Sequence[str],
        shards: Sequence[StagedShard],
        fields: Sequence[bigquery.SchemaField],
    ) -> None:
        """Loads until `labels` holds each row of the attempt once.

        A server that died may have loaded what it then calls failed. Nobody sees the attempt's rows yet, so
        they can be taken back and loaded anew.
        """
        if not draft.rows:
            return
        for generation in range(_LOADS):
            try:
                load_shards(self._location, self._jobs, draft.set_id, tasks, shards, fields, generation)
            except exceptions.NotFound as error:
                raise missing_tables(self._location) from error
            if self._count(draft) == draft.rows:
                return
            delete_rows(self._location, self._jobs, draft)
        self._check(draft)

    def _check(self, draft: LabelSetRecord) -> None:
        rows = self._count(draft)
        if rows != draft.rows:
            raise RuntimeError(
                f"{draft.set_id}: {draft.rows} labels given, {rows} loaded; nothing was published."
            )

    def _count(self, draft: LabelSetRecord) -> int:
        """How many rows of the attempt there are, if they are not the right ones with an id too often."""
        if not draft.rows:
            return 0
        rows, distinct = count_rows(self._location, self._jobs, draft)
        if rows == draft.rows and distinct != rows:
            raise labelled_twice(draft.set_id, repeated_ids(self._location, self._jobs, draft))
        return rows


def _open_draft(set_id: str, columns: Mapping[str, SoftColumn]) -> LabelSetRecord:
    """What is known of an attempt whose rows Beam will write: neither how many nor of which days."""
    nothing = SetFacts(feature_version="", label_age_spans=0, seconds=0.0)
    draft = draft_record(set_id, columns, [], nothing)
    return dataclasses.replace(draft, first_date="0001-01-01", last_date="9999-12-31")


def _counted(batches: Iterator[pa.RecordBatch], expected: int, set_id: str) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        yield batch
    if rows != expected:
        raise unknown_set(f"{set_id} ({rows} of {expected} rows are left)", "whole set")
