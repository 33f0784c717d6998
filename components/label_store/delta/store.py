"""Label sets in a Delta Lake table on a file system: the embedded default.

    ROOT/_delta_log/                            what is visible
    ROOT/label_set=<set id>/<shard>-*.parquet   rows, staged or published
    ROOT/_records/<set id>-<number>.json        records, staged or published
    ROOT/_pins/<fleet>/span-<N>                 pins, each a file that is created once

DuckDB, Spark and Polars read ROOT as the Delta table it is and see the published sets alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pydantic
from deltalake.exceptions import DeltaError

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
from components.label_store.delta.shards import DeltaShardWriter, settle_file
from components.label_store.delta.table import COLLECTED, Snapshot, make_snapshot, read_snapshot
from components.label_store.fingerprints import duplicated_ids
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
from eventlog.rows import EXAMPLE_ID, SURFACE

_COMMIT_ATTEMPTS = 30
_SCAN_ROWS = 65_536
_RECORD = pydantic.TypeAdapter(LabelSetRecord)  # Making it takes longer than reading a record.


class DeltaLabelStore(LabelStore):
    """A store in the folder `root`, which need not exist yet; safe for many processes at once."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()

    @property
    def root(self) -> Path:
        """The table's folder, absolute: workers may run elsewhere."""
        return self._root

    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> DeltaShardWriter:
        """Begins an attempt in a partition folder of its own."""
        return DeltaShardWriter(str(self._root), new_set_id(key, columns), dict(columns))

    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """One Delta transaction; whatever it answers, the table decides who has won."""
        if not isinstance(writer, DeltaShardWriter):
            raise TypeError(f"publish what this store's stage() began, got {type(writer).__name__}.")
        key = key_of(writer.set_id)
        chosen = one_per_name(shards)
        decided = self._decide(make_snapshot(self._root), writer, key, supersede)
        if decided is not None:
            return decided
        self._refuse_unfit(writer.set_id, chosen)
        chosen = chosen or [_empty(writer)]
        failure: DeltaError | None = None
        for turn in range(_COMMIT_ATTEMPTS):
            snapshot = make_snapshot(self._root)
            decided = self._decide(snapshot, writer, key, supersede)
            if decided is not None:
                return decided
            try:
                if not snapshot.add_columns(writer.columns):
                    revision = snapshot.revision(key) + 1
                    record = draft_record(writer.set_id, writer.columns, chosen, facts, revision)
                    number = self._write_record(record)
                    snapshot.publish(key, record.revision, writer.set_id, number, chosen)
            except DeltaError as error:
                failure = error
                time.sleep(0.002 * turn * secrets.randbelow(8))
        raise RuntimeError(f"could not commit {writer.set_id} in {_COMMIT_ATTEMPTS} attempts") from failure

    def list_sets(self) -> list[LabelSetRecord]:
        """Records of the sets the newest snapshot has files of."""
        snapshot = read_snapshot(self._root)
        if snapshot is None:
            return []
        records = [self._read_record(snapshot, set_id) for set_id in snapshot.files()]
        return sorted(records, key=lambda record: (record.created_ms, record.set_id))

    def find_set(self, set_id: str) -> LabelSetRecord:
        """The record of a published set, without reading the others."""
        return self._read_record(self._snapshot_with(set_id), set_id)

    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Reads the set's own files; a surface's row groups are found by their statistics."""
        snapshot = self._snapshot_with(set_id)
        schema = row_schema(list(self._read_record(snapshot, set_id).columns))
        unknown = [name for name in columns if name not in schema.names]
        if unknown:
            raise no_such_column(set_id, str(self._root), unknown[0], schema.names)
        files = [str(self._root / path) for path in snapshot.files()[set_id]]
        dataset = ds.dataset(files, schema=schema, format="parquet")
        wanted = None if surface is None else ds.field(SURFACE) == surface
        batches = dataset.to_batches(columns=list(columns), filter=wanted, batch_size=_SCAN_ROWS)
        return (batch for batch in batches if batch.num_rows)

    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """Creates the pin's file by hard link, which only the first of several callers can."""
        path = self._pin_path(fleet, span)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._pins_locked():
            self.find_set(set_id)
            return self._link_pin(path, set_id)

    def _link_pin(self, path: Path, set_id: str) -> str:
        partial = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        partial.write_text(set_id)
        settle_file(partial)
        try:
            os.link(partial, path)
        except FileExistsError:
            return path.read_text()
        finally:
            partial.unlink()
        return set_id

    def read_pin(self, fleet: str, span: int) -> str | None:
        """The pin's file, if it is there; a link is there with all its contents."""
        try:
            return self._pin_path(fleet, span).read_text()
        except FileNotFoundError:
            return None

    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Bars old attempts by a commit, against which a late publisher's fails, then removes their files."""
        limit = time.time() - older_than_seconds
        if not dry_run:
            for pin in self._root.glob("_pins/*/.span-*"):
                _remove_older(pin, limit)
        while staged := self._staged_files(limit):
            snapshot = make_snapshot(self._root)
            published = snapshot.files()
            if dry_run:
                return sorted(set(staged) - set(published))
            try:
                # One that has been barred may still have files, if that collection was killed.
                snapshot.bar([set_id for set_id in staged if snapshot.record_number(set_id) is None])
            except DeltaError:  # One of them has just been published, or somebody collects beside us.
                continue
            for set_id, paths in staged.items():
                number = snapshot.record_number(set_id) or COLLECTED
                kept = {self._record_path(set_id, number)} if number else set()
                kept |= {self._root / path for path in published.get(set_id, [])}
                for path in set(paths) - kept:
                    path.unlink(missing_ok=True)
            removed = sorted(set(staged) - set(published))
            for set_id in removed:
                shutil.rmtree(self._root / f"label_set={set_id}", ignore_errors=True)
            return removed
        return []

    def delete_expired(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """One Delta transaction that removes the sets, then their files."""
        limit_ms = (time.time() - older_than_seconds) * 1000
        with self._pins_locked():
            pinned = {path.read_text() for path in self._root.glob("_pins/*/span-*")}
            old = [record.set_id for record in self.list_sets() if record.created_ms < limit_ms]
            expired = sorted(set(old) - pinned)
            if dry_run or not expired:
                return expired
            make_snapshot(self._root).remove(expired)
        for set_id in expired:
            shutil.rmtree(self._root / f"label_set={set_id}", ignore_errors=True)
            for path in self._root.glob(f"_records/{set_id}-*.json"):
                path.unlink()
        return expired

    @contextlib.contextmanager
    def _pins_locked(self) -> Iterator[None]:
        """Keeps a set from expiring while it is being pinned; the lock dies with its holder."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "_pins.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _decide(
        self, snapshot: Snapshot, writer: DeltaShardWriter, key: LabelSetKey, supersede: bool
    ) -> LabelSetRecord | None:
        """The record to return if there is nothing left to publish; None if it is this attempt's turn."""
        number = snapshot.record_number(writer.set_id)
        if number == COLLECTED:
            raise collected(writer.set_id)
        same = [set_id for set_id in snapshot.files() if set_id.startswith(key.prefix)]
        if number is None and (supersede or not same):
            return None
        records = [self._read_record(snapshot, set_id) for set_id in same]
        return max(records, key=lambda record: record.revision)

    def _snapshot_with(self, set_id: str) -> Snapshot:
        snapshot = read_snapshot(self._root)
        if snapshot is None or not snapshot.record_number(set_id):
            raise unknown_set(set_id, "published set")
        return snapshot

    def _refuse_unfit(self, set_id: str, shards: Sequence[StagedShard]) -> None:
        refuse_faults(set_id, shards)
        for shard in shards:
            path = self._root / shard.path
            if not path.exists() or path.stat().st_size != shard.size_bytes:
                raise collected(set_id)
        files = [str(self._root / shard.path) for shard in shards]
        ids = ds.dataset(files, schema=row_schema([]), format="parquet").to_table(columns=[EXAMPLE_ID])
        twice = duplicated_ids(ids[EXAMPLE_ID])
        if twice:
            raise labelled_twice(set_id, twice)

    def _write_record(self, record: LabelSetRecord) -> int:
        # A number of its own for each commit tried: the commit says which of the records counts, and
        # nobody ever writes over it.
        number = secrets.randbelow(2**62 - 1) + 1
        path = self._record_path(record.set_id, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_RECORD.dump_json(record))
        settle_file(path)
        return number

    def _read_record(self, snapshot: Snapshot, set_id: str) -> LabelSetRecord:
        number = snapshot.record_number(set_id) or COLLECTED
        return _RECORD.validate_json(self._record_path(set_id, number).read_bytes())

    def _record_path(self, set_id: str, number: int) -> Path:
        return self._root / "_records" / f"{set_id}-{number:016x}.json"

    def _pin_path(self, fleet: str, span: int) -> Path:
        return self._root / "_pins" / require_name(fleet, "fleet name") / f"span-{span:05d}"

    def _staged_files(self, limit: float) -> dict[str, list[Path]]:
        """Files of attempts, published or not, that have written nothing since `limit`."""
        files: dict[str, list[Path]] = {}
        for path in self._root.glob("label_set=*/*"):
            files.setdefault(path.parent.name.removeprefix("label_set="), []).append(path)
        for path in self._root.glob("_records/*.json"):
            files.setdefault(path.name.rpartition("-")[0], []).append(path)
        return {set_id: paths for set_id, paths in files.items() if _newest_change(paths) < limit}


def _empty(writer: DeltaShardWriter) -> StagedShard:
    """A shard without rows: a set is visible by its files, so an empty one needs a file too."""
    return writer.write("empty", row_schema(list(writer.columns)).empty_table())


def _remove_older(path: Path, limit: float) -> None:
    if _newest_change([path]) < limit:
        path.unlink(missing_ok=True)


def _newest_change(paths: Sequence[Path]) -> float:
    changes = []
    for path in paths:
        try:
            changes.append(path.stat().st_mtime)
        except FileNotFoundError:  # A hidden file that has just got its name: the attempt is alive.
            changes.append(float("inf"))
    return max(changes)
