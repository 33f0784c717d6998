"""The Delta Lake table that holds label sets, and the traps of committing to it.

One table, partitioned by `label_set`. What makes a set visible is one transaction that names its files and
two application transactions: `set:<key>` with the revision, and `attempt:<set id>` with the number of the
record that belongs to it. Delta Lake lets only one of two concurrent transactions with a common application
id through. It *accepts* the same id again afterwards, so whoever commits reads both versions first, from the
very snapshot the commit builds on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, CommitProperties, Transaction

from components.label_store.base import EVENT_DATE, LabelSetKey, SoftColumn, StagedShard
from components.label_store.publication import column_conflict
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE

PARTITION = "label_set"
COLLECTED = 0
"""Version of an attempt that garbage collection has barred; published ones have a number above."""

_FIXED = Schema(
    [
        Field(EXAMPLE_ID, PrimitiveType("string"), nullable=False),
        Field(EVENT_DATE, PrimitiveType("date")),
        Field(SURFACE, PrimitiveType("string")),
        Field(PARTITION, PrimitiveType("string")),
    ]
)


class Snapshot:
    """The table as it was at one moment; a commit through it fails if what it relies on has changed."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    @property
    def version(self) -> int:
        """The Delta version, which only grows."""
        return int(self._table.version())

    def revision(self, key: LabelSetKey) -> int:
        """The newest revision published for a key, 0 for none."""
        return self._table.transaction_version(_set_application(key)) or 0

    def record_number(self, set_id: str) -> int | None:
        """Which record belongs to an attempt: None if it is open, `COLLECTED` if it is barred."""
        version: int | None = self._table.transaction_version(_attempt_application(set_id))
        return version

    def files(self) -> dict[str, list[str]]:
        """Set id → its shards' paths inside the table, sorted. Exactly the published sets are there."""
        actions = self._table.get_add_actions(flatten=True)
        if actions.num_rows == 0:
            return {}
        files: dict[str, list[str]] = {}
        pairs = zip(actions["partition.label_set"].to_pylist(), actions["path"].to_pylist(), strict=True)
        for set_id, path in sorted(pairs):
            files.setdefault(set_id, []).append(path)
        return files

    def add_columns(self, columns: Mapping[str, SoftColumn]) -> bool:
        """Adds the task columns the table lacks; a shard's new column would not reach its schema by itself.

        Returns:
            Whether a column was added, so that this snapshot is out of date.

        Raises:
            BadInput: if a column is there and means something else.
        """
        known = {field.name: field.metadata for field in self._table.schema().fields}
        missing = []
        for task, column in columns.items():
            name, meaning = SOFT_PREFIX + task, _meaning(column)
            if name not in known:
                missing.append(Field(name, PrimitiveType("float"), metadata=meaning))
            elif known[name] != meaning:
                raise column_conflict(name, self._table.table_uri, str(known[name]), str(meaning))
        if missing:
            self._table.alter.add_columns(missing)
        return bool(missing)

    def publish(
        self, key: LabelSetKey, revision: int, set_id: str, number: int, shards: Sequence[StagedShard]
    ) -> None:
        """The one transaction that makes a set visible.

        Raises:
            DeltaError: if another transaction came between; also, at times, although this one went through
                (a checkpoint is written after the commit), so read again before drawing conclusions.
        """
        adds = [
            AddAction(
                path=shard.path,
                size=shard.size_bytes,
                partition_values={PARTITION: set_id},
                modification_time=0,
                data_change=True,
                stats=f'{{"numRecords":{shard.rows}}}',
            )
            for shard in shards
        ]
        self._commit(
            adds,
            [Transaction(_set_application(key), revision), Transaction(_attempt_application(set_id), number)],
        )

    def bar(self, set_ids: Sequence[str]) -> None:
        """Commits that these attempts will never be published.

        Raises:
            DeltaError: if one of them was published meanwhile.
        """
        if set_ids:
            self._commit([], [Transaction(_attempt_application(set_id), COLLECTED) for set_id in set_ids])

    def remove(self, set_ids: Sequence[str]) -> None:
        """Takes published sets out of the table, and bars them, in one transaction.

        Raises:
            DeltaError: if another transaction came between.
        """
        names = ", ".join(f"'{set_id}'" for set_id in set_ids)
        barred = [Transaction(_attempt_application(set_id), COLLECTED) for set_id in set_ids]
        self._table.delete(
            f"{PARTITION} IN ({names})", commit_properties=CommitProperties(app_transactions=barred)
        )

    def _commit(self, adds: list[AddAction], transactions: list[Transaction]) -> None:
        self._table.create_write_transaction(
            adds,
            mode="append",
            schema=self._table.schema(),
            partition_by=[PARTITION],
            commit_properties=CommitProperties(app_transactions=transactions),
        )


def read_snapshot(root: Path) -> Snapshot | None:
    """The newest snapshot, or None where no table has been made yet."""
    try:
        return Snapshot(DeltaTable(str(root)))
    except TableNotFoundError:
        return None


def make_snapshot(root: Path) -> Snapshot:
    """The newest snapshot of the table, which is made if it is not there."""
    snapshot = read_snapshot(root)
    if snapshot is not None:
        return snapshot
    root.mkdir(parents=True, exist_ok=True)
    try:
        DeltaTable.create(str(root), _FIXED, mode="ignore", partition_by=[PARTITION])
    except DeltaError:
        if not DeltaTable.is_deltatable(str(root)):  # Otherwise another process made it a moment earlier.
            raise
    return Snapshot(DeltaTable(str(root)))


def _set_application(key: LabelSetKey) -> str:
    return f"set:{key.prefix}"


def _attempt_application(set_id: str) -> str:
    return f"attempt:{set_id}"


def _meaning(column: SoftColumn) -> dict[str, str]:
    return {"kind": column.kind, "link": column.link, "unit": column.unit, "scale": column.scale}
