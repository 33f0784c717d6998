"""Label store in a Delta Lake table on a file system.

    ROOT/_delta_log/                            transaction log
    ROOT/label_set=<set id>/<shard>-*.parquet   rows, staged or published
    ROOT/_records/<set id>-<number>.json        records, staged or published
    ROOT/_pins/<fleet>/span-<N>                 pins; a pin's file contains a set id and never changes

DuckDB, Spark and Polars read ROOT as a Delta table and see only published sets.
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
import pyarrow.compute as pc
import pydantic
from deltalake.exceptions import CommitFailedError, DeltaError

from components.label_store.base import (
    LabelSetKey,
    LabelSetRecord,
    LabelStore,
    SetFacts,
    ShardWriter,
    SoftColumn,
    StagedShard,
    lost_file_error,
    require_name,
    row_schema,
    unknown_set_error,
    unreadable_file_error,
)
from components.label_store.delta.shards import DeltaShardWriter, flush_to_disk
from components.label_store.delta.table import LabelTable, open_or_create_table, open_table
from components.label_store.fingerprints import duplicated_ids
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
from eventlog.errors import BadInput
from eventlog.names import require_safe_path
from eventlog.parquet_files import open_dataset
from eventlog.rows import EXAMPLE_ID, SURFACE

_MAX_COMMITS = 30
_MAX_BATCH_ROWS = 65_536
_RECORD_ADAPTER = pydantic.TypeAdapter(LabelSetRecord)  # Built once: building is slow.


class DeltaLabelStore(LabelStore):
    """Store in the folder `root`, which is created on first use. Several processes may use it at once."""

    def __init__(self, root: str | Path) -> None:
        require_safe_path(root, "label store")
        self._root = Path(root).absolute()

    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> DeltaShardWriter:
        """See `LabelStore`. Each attempt has its own partition folder."""
        return DeltaShardWriter(str(self._root), make_set_id(key, columns), dict(columns))

    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """See `LabelStore`. Commits missing columns, then the set; reads the outcome from the table."""
        if not isinstance(writer, DeltaShardWriter):
            raise TypeError(
                f"publish needs a writer from stage() of this store, got {type(writer).__name__}."
            )
        key = key_from_set_id(writer.set_id)
        shards = deduplicate_shards(shards)
        published = self._published_record(open_or_create_table(self._root), writer, key, supersede)
        if published is not None:
            return published
        self._check_shards(writer.set_id, shards)
        # The table lists only sets that have a file, so a set without rows needs an empty file.
        shards = shards or [writer.write("empty", row_schema(list(writer.columns)).empty_table())]
        failure: DeltaError | None = None
        for turn in range(_MAX_COMMITS):
            table = open_or_create_table(self._root)
            published = self._published_record(table, writer, key, supersede)
            if published is not None:
                return published
            try:
                # One turn commits either missing columns or the set. The next opens the newest table version.
                if not table.add_columns(writer.columns):
                    revision = table.newest_revision(key) + 1
                    record = draft_record(writer.set_id, writer.columns, shards, facts, revision)
                    record_number = self._write_record(record)
                    table.publish(key, revision, writer.set_id, record_number, shards)
            except DeltaError as error:
                failure = error
                time.sleep(0.002 * turn * secrets.randbelow(8))
        raise RuntimeError(f"could not commit {writer.set_id} in {_MAX_COMMITS} tries") from failure

    def list_sets(self) -> list[LabelSetRecord]:
        """See `LabelStore`."""
        table = open_table(self._root)
        if table is None:
            return []
        records = [self._read_record(table, set_id) for set_id in table.files_by_set()]
        return sorted(records, key=lambda record: (record.created_ms, record.set_id))

    def find_set(self, set_id: str) -> LabelSetRecord:
        """See `LabelStore`. Reads only this record."""
        return self._read_record(self._open_table_with(set_id), set_id)

    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """See `LabelStore`. Skips row groups whose statistics exclude the surface."""
        table = self._open_table_with(set_id)
        schema = row_schema(list(self._read_record(table, set_id).columns))
        for name in columns:
            if name not in schema.names:
                raise unknown_column_error(set_id, str(self._root), name, schema.names)
        files = [str(self._root / path) for path in table.files_by_set()[set_id]]
        for file in files:
            if not Path(file).is_file():
                raise lost_file_error(set_id, file)
        row_filter = None if surface is None else pc.field(SURFACE) == surface

        def batches() -> Iterator[pa.RecordBatch]:
            dataset = open_dataset(files, schema)
            yield from dataset.to_batches(
                columns=list(columns), filter=row_filter, batch_size=_MAX_BATCH_ROWS
            )

        return _check_batches(batches(), set_id, str(self._root / f"label_set={set_id}"))

    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """See `LabelStore`. Creates the pin's file by a hard link, which succeeds for one caller only."""
        path = self._pin_path(fleet, span)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_pins():
            self.find_set(set_id)  # Raises if the set is not published.
            return self._create_pin(path, set_id)

    def _create_pin(self, path: Path, set_id: str) -> str:
        partial = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        partial.write_text(set_id)
        flush_to_disk(partial)
        try:
            os.link(partial, path)
        except FileExistsError:
            return _read_pin(path)
        finally:
            partial.unlink()
        return set_id

    def read_pin(self, fleet: str, span: int) -> str | None:
        """See `LabelStore`. A pin's file is complete as soon as it exists."""
        try:
            return _read_pin(self._pin_path(fleet, span))
        except FileNotFoundError:
            return None

    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """See `LabelStore`. Bars the attempts in a commit, so a late `publish` fails; then deletes files.

        Also deletes unneeded files of published sets, such as second copies of a shard.
        """
        cutoff = time.time() - older_than_seconds
        if not dry_run:
            for partial in self._root.glob("_pins/*/.span-*"):  # Left by a killed `pin`.
                if _newest_change([partial]) < cutoff:
                    partial.unlink(missing_ok=True)
        while idle_files := self._idle_files(cutoff):
            if dry_run:
                table = open_table(self._root)
                return sorted(set(idle_files) - set(table.files_by_set() if table else ()))
            table = open_or_create_table(self._root)
            published = table.files_by_set()
            unpublished = sorted(set(idle_files) - set(published))
            try:
                # An attempt may be barred and still have files, if an earlier garbage collection was killed.
                table.bar([set_id for set_id in unpublished if not table.is_barred(set_id)])
            except DeltaError:  # Another process has published or barred one of the attempts.
                continue
            for set_id, paths in idle_files.items():
                record_number = table.record_number(set_id)
                needed = {self._record_path(set_id, record_number)} if record_number else set()
                needed |= {self._root / path for path in published.get(set_id, [])}
                for path in set(paths) - needed:
                    path.unlink(missing_ok=True)
            for set_id in unpublished:
                shutil.rmtree(self._root / f"label_set={set_id}", ignore_errors=True)
            return unpublished
        return []

    def delete_unpinned(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """See `LabelStore`. Removes the sets in one Delta transaction, then deletes their files."""
        cutoff_ms = (time.time() - older_than_seconds) * 1000
        if dry_run:
            return self._list_unpinned(cutoff_ms)
        with self._lock_pins():
            while unpinned := self._list_unpinned(cutoff_ms):
                # If another process has just changed the table, the commit fails: list the sets again.
                with contextlib.suppress(CommitFailedError):
                    open_or_create_table(self._root).remove(unpinned)
                    break
        for set_id in unpinned:
            shutil.rmtree(self._root / f"label_set={set_id}", ignore_errors=True)
            for path in self._root.glob(f"_records/{set_id}-*.json"):
                path.unlink()
        return unpinned

    def _list_unpinned(self, cutoff_ms: float) -> list[str]:
        pinned = {_read_pin(path) for path in self._root.glob("_pins/*/span-*")}
        old = {record.set_id for record in self.list_sets() if record.created_ms < cutoff_ms}
        return sorted(old - pinned)

    @contextlib.contextmanager
    def _lock_pins(self) -> Iterator[None]:
        """Locks the pins, so that no set is deleted while a process pins it. A kill releases the lock."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "_pins.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _published_record(
        self, table: LabelTable, writer: DeltaShardWriter, key: LabelSetKey, supersede: bool
    ) -> LabelSetRecord | None:
        """Returns the newest published record of the key; None if this attempt must still be published.

        Raises:
            BadInput: if the attempt is barred.
        """
        if table.is_barred(writer.set_id):
            raise collected_attempt_error(writer.set_id)
        set_ids = [set_id for set_id in table.files_by_set() if set_id.startswith(key.prefix)]
        if table.record_number(writer.set_id) is None and (supersede or not set_ids):
            return None
        records = [self._read_record(table, set_id) for set_id in set_ids]
        return max(records, key=lambda record: record.revision)

    def _open_table_with(self, set_id: str) -> LabelTable:
        table = open_table(self._root)
        if table is None or table.record_number(set_id) is None:
            raise unknown_set_error(set_id)
        return table

    def _check_shards(self, set_id: str, shards: Sequence[StagedShard]) -> None:
        refuse_faults(set_id, shards)
        for shard in shards:
            path = self._root / shard.path
            if not path.exists() or path.stat().st_size != shard.size_bytes:
                raise collected_attempt_error(set_id)
        files = [str(self._root / shard.path) for shard in shards]
        ids = open_dataset(files, row_schema([])).to_table(columns=[EXAMPLE_ID])
        duplicates = duplicated_ids(ids[EXAMPLE_ID])
        if duplicates:
            raise duplicate_labels_error(set_id, duplicates)

    def _write_record(self, record: LabelSetRecord) -> int:
        # A random number gives each commit a new record file, so that no record is overwritten.
        record_number = secrets.randbelow(2**62 - 1) + 1
        path = self._record_path(record.set_id, record_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_RECORD_ADAPTER.dump_json(record))
        flush_to_disk(path)
        return record_number

    def _read_record(self, table: LabelTable, set_id: str) -> LabelSetRecord:
        record_number = table.record_number(set_id)
        if record_number is None:
            raise unknown_set_error(set_id)
        path = self._record_path(set_id, record_number)
        try:
            record = _RECORD_ADAPTER.validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise lost_file_error(set_id, str(path)) from error
        except pydantic.ValidationError as error:
            expected, got = "the record of a label set", str(error)
            raise unreadable_file_error(set_id, str(path), expected, got) from error
        # A wrong id would make `delete_unpinned` delete another folder.
        if record.set_id != set_id:
            raise unreadable_file_error(set_id, str(path), f"the record of {set_id}", repr(record.set_id))
        return record

    def _record_path(self, set_id: str, record_number: int) -> Path:
        return self._root / "_records" / f"{set_id}-{record_number:016x}.json"

    def _pin_path(self, fleet: str, span: int) -> Path:
        return self._root / "_pins" / require_name(fleet, "fleet name") / f"span-{span:05d}"

    def _idle_files(self, cutoff: float) -> dict[str, list[Path]]:
        """Returns set id → files, of attempts whose files are all older than `cutoff` (Unix seconds).

        The result includes published sets.
        """
        files: dict[str, list[Path]] = {}
        for path in self._root.glob("label_set=*/*"):
            files.setdefault(path.parent.name.removeprefix("label_set="), []).append(path)
        for path in self._root.glob("_records/*.json"):
            files.setdefault(path.name.rpartition("-")[0], []).append(path)
        return {set_id: paths for set_id, paths in files.items() if _newest_change(paths) < cutoff}


def _check_batches(batches: Iterator[pa.RecordBatch], set_id: str, folder: str) -> Iterator[pa.RecordBatch]:
    """Checks batches and yields those that have rows.

    Raises:
        DamagedSet: if a file cannot be read, a string is not UTF-8, or an example id is missing.
    """
    expected = "the Parquet files of a label set"
    try:
        for batch in batches:
            batch.validate(full=True)
            if EXAMPLE_ID in batch.schema.names and (missing := batch[EXAMPLE_ID].null_count):
                got = f"{missing} rows without an {EXAMPLE_ID}"
                raise unreadable_file_error(set_id, folder, expected, got)
            if batch.num_rows:
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise unreadable_file_error(set_id, folder, expected, str(error)) from error


def _read_pin(path: Path) -> str:
    """Reads the id of the pinned set.

    Raises:
        BadInput: if the file is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            "unreadable pin", where=str(path), expected="the id of a label set", got=str(error),
            fix="Write the id of the pinned set into the file; `rankdistill labels ls` prints all ids.",
        ) from error  # fmt: skip


def _newest_change(paths: Sequence[Path]) -> float:
    """Returns the latest modification time of the files, in Unix seconds; infinity if a file has gone."""
    changes = []
    for path in paths:
        try:
            changes.append(path.stat().st_mtime)
        except FileNotFoundError:  # A writer has just renamed its temporary file, so the attempt is running.
            changes.append(float("inf"))
    return max(changes)
