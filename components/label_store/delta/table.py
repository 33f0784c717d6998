"""Reads and commits versions of the Delta Lake table that contains the label sets.

The table is partitioned by `label_set`. One transaction makes a set visible. It adds the set's files and
writes two `txn` entries to Delta's log. An entry is a name with a number (in Delta's terms: an application id
with an application version):

    set:<key>           the revision of the set
    attempt:<set id>    the number of the record file, or 0 if the attempt is barred

Delta Lake accepts only one of two concurrent transactions that write an entry with the same name. But a later
transaction may write the same name again. So before each commit, `DeltaLabelStore` opens the newest table
version and reads its entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, CommitProperties, Transaction

from components.label_store.base import EVENT_DATE, LabelSetKey, SoftColumn, StagedShard, require_set_id
from components.label_store.publication import column_conflict_error
from eventlog.errors import BadInput
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE

PARTITION = "label_set"
_SHARD_FILE_PATTERN = re.compile(r"[A-Za-z0-9_.-]+\.parquet")
_BARRED = 0
"""Number in the entry of a barred attempt. A published attempt has the number of its record file, above 0."""

_FIXED_SCHEMA = Schema(
    [
        Field(EXAMPLE_ID, PrimitiveType("string"), nullable=False),
        Field(EVENT_DATE, PrimitiveType("date")),
        Field(SURFACE, PrimitiveType("string")),
        Field(PARTITION, PrimitiveType("string")),
    ]
)


class LabelTable:
    """One version of the Delta table. Its methods read this version, or commit the next one.

    A commit fails if another process has committed a conflicting transaction since this version.
    """

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    def newest_revision(self, key: LabelSetKey) -> int:
        """Returns the newest published revision of a key; 0 if there is none."""
        return self._table.transaction_version(_set_application_id(key)) or 0

    def record_number(self, set_id: str) -> int | None:
        """Returns the number of a published set's record file; None if the set is unpublished or barred."""
        return self._table.transaction_version(_attempt_application_id(set_id)) or None

    def is_barred(self, set_id: str) -> bool:
        """Whether garbage collection has barred the attempt from being published."""
        return bool(self._table.transaction_version(_attempt_application_id(set_id)) == _BARRED)

    def files_by_set(self) -> dict[str, list[str]]:
        """Maps the id of each published set to the sorted paths of its shards inside the table's folder.

        Raises:
            BadInput: if the log of the table names an unsafe id, or a file outside the set's folder.
        """
        actions = self._table.get_add_actions(flatten=True)
        if actions.num_rows == 0:
            return {}
        files: dict[str, list[str]] = {}
        pairs = zip(actions["partition.label_set"].to_pylist(), actions["path"].to_pylist(), strict=True)
        for set_id, path in sorted(pairs):
            require_set_id(set_id, self._table.table_uri)
            folder, _, name = path.rpartition("/")
            if folder != f"{PARTITION}={set_id}" or not _SHARD_FILE_PATTERN.fullmatch(name):
                raise BadInput(
                    "file outside its label set", where=self._table.table_uri, got=repr(path),
                    expected=f"files {PARTITION}={set_id}/*.parquet", fix="Find out who changed the table.",
                )  # fmt: skip
            files.setdefault(set_id, []).append(path)
        return files

    def add_columns(self, columns: Mapping[str, SoftColumn]) -> bool:
        """Commits the task columns that the table lacks. A commit of files does not add their columns.

        Returns:
            Whether a column was added. Then this object is out of date: open the table again.

        Raises:
            BadInput: if a column exists with another meaning.
        """
        meanings = {field.name: field.metadata for field in self._table.schema().fields}
        missing = []
        for task, column in columns.items():
            name, meaning = SOFT_PREFIX + task, _metadata(column)
            if name not in meanings:
                missing.append(Field(name, PrimitiveType("float"), metadata=meaning))
            elif meanings[name] != meaning:
                raise column_conflict_error(name, self._table.table_uri, str(meanings[name]), str(meaning))
        if missing:
            self._table.alter.add_columns(missing)
        return bool(missing)

    def publish(
        self, key: LabelSetKey, revision: int, set_id: str, record_number: int, shards: Sequence[StagedShard]
    ) -> None:
        """Commits the transaction that makes a set visible.

        Raises:
            DeltaError: if another transaction conflicts, or if the checkpoint after a successful commit
                fails. Open the table again to see whether the set is published.
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
            [
                Transaction(_set_application_id(key), revision),
                Transaction(_attempt_application_id(set_id), record_number),
            ],
        )

    def bar(self, set_ids: Sequence[str]) -> None:
        """Bars attempts from being published.

        Raises:
            DeltaError: if one of the attempts has been published or barred since this version.
        """
        if set_ids:
            self._commit([], [Transaction(_attempt_application_id(set_id), _BARRED) for set_id in set_ids])

    def remove(self, set_ids: Sequence[str]) -> None:
        """Removes published sets from the table and bars them, in one transaction.

        Raises:
            DeltaError: if another transaction conflicts.
        """
        names = ", ".join(f"'{set_id}'" for set_id in set_ids)
        bars = [Transaction(_attempt_application_id(set_id), _BARRED) for set_id in set_ids]
        self._table.delete(
            f"{PARTITION} IN ({names})", commit_properties=CommitProperties(app_transactions=bars)
        )

    def _commit(self, adds: list[AddAction], transactions: list[Transaction]) -> None:
        self._table.create_write_transaction(
            adds,
            mode="append",
            schema=self._table.schema(),
            partition_by=[PARTITION],
            commit_properties=CommitProperties(app_transactions=transactions),
        )


def open_table(root: Path) -> LabelTable | None:
    """Opens the newest version of the table; None if the table does not exist.

    Raises:
        BadInput: if the log of the table is damaged.
    """
    try:
        return LabelTable(DeltaTable(str(root)))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise BadInput(
            "a damaged Delta table", where=str(root), expected="a readable log in _delta_log",
            got=" ".join(str(error).split())[:200],
            fix="Restore the files of _delta_log, or use another label_store.",
        ) from error  # fmt: skip


def open_or_create_table(root: Path) -> LabelTable:
    """Opens the newest version of the table; creates the table if it does not exist."""
    table = open_table(root)
    if table is not None:
        return table
    root.mkdir(parents=True, exist_ok=True)
    try:
        DeltaTable.create(str(root), _FIXED_SCHEMA, mode="ignore", partition_by=[PARTITION])
    except DeltaError:
        if not DeltaTable.is_deltatable(str(root)):  # Otherwise another process has just created it.
            raise
    return LabelTable(DeltaTable(str(root)))


def _set_application_id(key: LabelSetKey) -> str:
    return f"set:{key.prefix}"


def _attempt_application_id(set_id: str) -> str:
    return f"attempt:{set_id}"


def _metadata(column: SoftColumn) -> dict[str, str]:
    return {"kind": column.kind, "link": column.link, "unit": column.unit, "scale": column.scale}
