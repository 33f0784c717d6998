"""Commits to the Delta Lake table that holds label sets.

The table is partitioned by `label_set`. One transaction makes a set visible. It names the set's files and two
application transactions: `set:<key>` with the revision, and `attempt:<set id>` with the number of the record.
Of two concurrent transactions with a common application id, Delta Lake accepts one. But it *accepts* the same
id again later. So read both versions from the snapshot that the commit builds on, before each commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, CommitProperties, Transaction

from components.label_store.base import EVENT_DATE, LabelSetKey, SoftColumn, StagedShard
from components.label_store.publication import column_conflict_error
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE

PARTITION = "label_set"
COLLECTED = 0
"""Record number of an attempt that garbage collection has barred; published attempts have one above 0."""

_FIXED = Schema(
    [
        Field(EXAMPLE_ID, PrimitiveType("string"), nullable=False),
        Field(EVENT_DATE, PrimitiveType("date")),
        Field(SURFACE, PrimitiveType("string")),
        Field(PARTITION, PrimitiveType("string")),
    ]
)


class Snapshot:
    """The table at one version. A commit fails if another transaction has changed what it depends on."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    def revision(self, key: LabelSetKey) -> int:
        """The newest published revision of a key; 0 if there is none."""
        return self._table.transaction_version(_set_application(key)) or 0

    def record_number(self, set_id: str) -> int | None:
        """Number of the attempt's record; None if the attempt is unpublished, `COLLECTED` if it is barred."""
        version: int | None = self._table.transaction_version(_attempt_application(set_id))
        return version

    def files(self) -> dict[str, list[str]]:
        """Set id → sorted paths of its shards inside the table, for all published sets."""
        actions = self._table.get_add_actions(flatten=True)
        if actions.num_rows == 0:
            return {}
        files: dict[str, list[str]] = {}
        pairs = zip(actions["partition.label_set"].to_pylist(), actions["path"].to_pylist(), strict=True)
        for set_id, path in sorted(pairs):
            files.setdefault(set_id, []).append(path)
        return files

    def add_columns(self, columns: Mapping[str, SoftColumn]) -> bool:
        """Adds the task columns that the table lacks. Delta Lake does not add a shard's new column itself.

        Returns:
            Whether a column was added; this snapshot is then out of date.

        Raises:
            BadInput: if a column exists with another meaning.
        """
        meanings = {field.name: field.metadata for field in self._table.schema().fields}
        missing = []
        for task, column in columns.items():
            name, meaning = SOFT_PREFIX + task, _meaning(column)
            if name not in meanings:
                missing.append(Field(name, PrimitiveType("float"), metadata=meaning))
            elif meanings[name] != meaning:
                raise column_conflict_error(name, self._table.table_uri, str(meanings[name]), str(meaning))
        if missing:
            self._table.alter.add_columns(missing)
        return bool(missing)

    def publish(
        self, key: LabelSetKey, revision: int, set_id: str, number: int, shards: Sequence[StagedShard]
    ) -> None:
        """Commits the transaction that makes a set visible.

        Raises:
            DeltaError: if another transaction conflicts. Sometimes also after a successful commit, because a
                checkpoint is written after it; so read the table again for the outcome.
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
        """Bars attempts from being published.

        Raises:
            DeltaError: if one of them has been published since this snapshot.
        """
        if set_ids:
            self._commit([], [Transaction(_attempt_application(set_id), COLLECTED) for set_id in set_ids])

    def remove(self, set_ids: Sequence[str]) -> None:
        """Removes published sets from the table and bars them, in one transaction.

        Raises:
            DeltaError: if another transaction conflicts.
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
    """The newest snapshot, or None if the table does not exist."""
    try:
        return Snapshot(DeltaTable(str(root)))
    except TableNotFoundError:
        return None


def make_snapshot(root: Path) -> Snapshot:
    """The newest snapshot; creates the table if it does not exist."""
    snapshot = read_snapshot(root)
    if snapshot is not None:
        return snapshot
    root.mkdir(parents=True, exist_ok=True)
    try:
        DeltaTable.create(str(root), _FIXED, mode="ignore", partition_by=[PARTITION])
    except DeltaError:
        if not DeltaTable.is_deltatable(str(root)):  # Otherwise another process has just created it.
            raise
    return Snapshot(DeltaTable(str(root)))


def _set_application(key: LabelSetKey) -> str:
    return f"set:{key.prefix}"


def _attempt_application(set_id: str) -> str:
    return f"attempt:{set_id}"


def _meaning(column: SoftColumn) -> dict[str, str]:
    return {"kind": column.kind, "link": column.link, "unit": column.unit, "scale": column.scale}
