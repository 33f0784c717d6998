"""Interface of the label store, and the dataclasses that all backends share.

A *label set* contains all soft labels of one teacher version for one version of one span. It becomes visible
in one step and never changes. An *attempt* is one try to write and publish a label set; each attempt has
its own set id. A new revision of a set is stored beside the older one. A fleet's pin names the set that its
students read for a span.

Reference: Khani et al., RecSys '24 (one teacher, many students, labels from a columnar store).
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import pyarrow as pa

from eventlog.errors import BadInput
from eventlog.names import name_fault
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE

EVENT_DATE = "event_date"
_SET_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
FIXED_COLUMNS = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        pa.field(EVENT_DATE, pa.date32(), nullable=False),
        pa.field(SURFACE, pa.string()),
    ]
)
"""Schema of label rows without their `soft_<task>` columns. `event_date` is the impression's date in UTC."""


def require_name(value: str, kind: str) -> str:
    """Returns `value` if it can be part of a path and of a set id.

    Args:
        value: the name.
        kind: kind of name, such as `fleet name`, for the error message.

    Raises:
        BadInput: if `value` has a character other than letters, digits, `_` and `-`, or does not begin with a
            letter or digit.
    """
    fault = name_fault(value, max_length=None)
    if fault is not None:
        raise BadInput(
            f"not a usable {kind}", where="label store", expected=fault.expected, got=fault.got, fix=fault.fix
        )
    return value


def require_set_id(set_id: str, where: str) -> str:
    """Returns `set_id` if it is safe in paths and in SQL.

    Args:
        set_id: an id that was read from a file of the store.
        where: location of the file, for the error message.

    Raises:
        BadInput: if `set_id` has a character other than letters, digits, `_`, `-` and `.`, or does not begin
            with a letter or digit.
    """
    if not _SET_ID_PATTERN.fullmatch(set_id):
        raise BadInput(
            "not the id of a label set", where=where,
            expected="letters, digits, _, - and ., the first a letter or a digit",
            got=repr(set_id), fix="Find out who wrote this id: rankdistill writes no such id.",
        )  # fmt: skip
    return set_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftColumn:
    """Meaning of the numbers in one `soft_<task>` column. A column never changes its meaning.

    Attributes:
        kind: `binary` for probabilities in [0, 1], `regression` for expected values on `scale`.
        link: function from the teacher's output to the stored number: `sigmoid` for a logit, else `identity`.
        unit: unit of the task's hard label in the event log, such as `seconds`.
        scale: function that is applied to the hard label before training: `identity` or `log1p`.
    """

    kind: Literal["binary", "regression"]
    link: Literal["sigmoid", "identity"]
    unit: str
    scale: str = "identity"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSetKey:
    """Teacher and span of a label set. Sets with the same key are revisions of one another.

    Raises:
        BadInput: if `teacher` or `teacher_version` is not a safe name; see `require_name`.
        ValueError: if `span` or `span_version` is negative.
    """

    teacher: str
    teacher_version: str
    span: int
    span_version: int = 0

    def __post_init__(self) -> None:
        require_name(self.teacher, "teacher name")
        require_name(self.teacher_version, "teacher version")
        if self.span < 0 or self.span_version < 0:
            raise ValueError(f"span and span_version must be >= 0, got {self.span} and {self.span_version}.")

    @property
    def prefix(self) -> str:
        """Prefix of the ids of all sets with this key, and of no other set id."""
        return f"{self.teacher}.{self.teacher_version}.span-{self.span:05d}.{self.span_version}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedShard:
    """One shard that is written but not yet visible to readers.

    Attributes:
        name: name of the shard within the set. A retried Beam bundle stages the same name again.
        path: path of the file. Delta: relative to the table's folder. BigQuery: absolute, or `gs://…`.
        size_bytes: size of the file; `publish` compares it with the current size.
        rows: number of label rows.
        rows_per_surface: surface → number of label rows.
        first_date: earliest `event_date` of the rows, ISO 8601; empty if there are no rows.
        last_date: latest `event_date`, in the same form.
        checksum: see `fingerprints.compute_checksum`.
        fault: reason why the labels must not be published; empty if there is none. `publish` raises this
            fault. The worker does not, because Beam would retry its work and wrap the exception.
    """

    name: str
    path: str
    size_bytes: int
    rows: int
    rows_per_surface: dict[str, int]
    first_date: str
    last_date: str
    checksum: int
    fault: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetFacts:
    """Facts about a label set that only the labelling job can supply.

    Attributes:
        feature_version: feature version of the teacher.
        label_age_spans: label age: the labelled span minus the last span on which the teacher has trained.
        seconds: duration of the labelling.
        extra: name → further figure, such as `ready_ms`.
    """

    feature_version: str
    label_age_spans: int
    seconds: float
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSetRecord:
    """Facts about a published set, written once, together with the set.

    Attributes:
        set_id: id of the set, unique among all attempts, published or unpublished.
        key: teacher and span.
        revision: 1 for the first set of its key, 2 for the next, and so on.
        columns: task → kind, link, unit and scale of its `soft_<task>` column.
        facts: facts from the labelling job.
        rows: number of label rows, one per labelled example.
        rows_per_surface: surface → number of label rows.
        first_date: earliest `event_date` of the rows, ISO 8601; empty if there are no rows.
        last_date: latest `event_date`, in the same form.
        checksum: 16 hex digits, independent of the order and the sharding of the rows.
        created_ms: time of publication, Unix milliseconds.
    """

    set_id: str
    key: LabelSetKey
    revision: int
    columns: dict[str, SoftColumn]
    facts: SetFacts
    rows: int
    rows_per_surface: dict[str, int]
    first_date: str
    last_date: str
    checksum: str
    created_ms: int


class ShardWriter(abc.ABC):
    """Writes the shards of one attempt. Beam pickles the writer and calls it in workers.

    Attributes:
        columns: task → kind, link, unit and scale of its `soft_<task>` column.
    """

    columns: dict[str, SoftColumn]

    @property
    @abc.abstractmethod
    def set_id(self) -> str:
        """Id of the attempt; also the id of the set if this attempt is published."""

    @abc.abstractmethod
    def write(self, name: str, table: pa.Table) -> StagedShard:
        """Stages one shard: writes its file, which readers do not see before `publish`.

        If a retry stages the same name again, `publish` uses one of the copies.

        Args:
            name: name of the shard within the set.
            table: columns of `FIXED_COLUMNS` and a float32 `soft_<task>` for each of the set's tasks.

        Raises:
            BadInput: if `name` is not a safe name; see `require_name`.
            ValueError: if the table has other columns, or another order of columns.
        """


class LabelStore(abc.ABC):
    """Store of label sets, each published once and read by many students.

    A backend implements these methods and passes `tests/components/label_store/test_contract.py`.
    """

    @abc.abstractmethod
    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> ShardWriter:
        """Begins an attempt and returns its writer.

        Args:
            key: teacher and span of the set.
            columns: task → kind, link, unit and scale of its `soft_<task>` column.

        Raises:
            BadInput: if a task's name cannot be part of a column name.
        """

    @abc.abstractmethod
    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """Makes all staged shards visible at once, or none.

        Args:
            writer: the writer of the attempt.
            shards: results of `writer.write`, in any order; may be empty.
            facts: stored in the record.
            supersede: publish a new revision even if the key already has a set.

        Returns:
            The record of the newest set with this key. If another attempt was published first, this is the
            record of that attempt, and the shards of this attempt stay invisible.

        Raises:
            BadInput: if a label is not finite or is out of range, an example id is missing or appears twice,
                a column has another meaning already, or staged shards are missing or changed.
        """

    @abc.abstractmethod
    def list_sets(self) -> list[LabelSetRecord]:
        """Returns the records of all published sets, oldest first."""

    @abc.abstractmethod
    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a published set: the given columns, of one surface or of all.

        A backend reads only these columns from storage. It may read rows of other surfaces, which it drops.

        Args:
            set_id: id of the set.
            columns: names of the columns to read.
            surface: surface whose rows are read; None for all surfaces.

        Raises:
            BadInput: if the set is not published, lacks a column or is damaged.
        """

    @abc.abstractmethod
    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """Pins a set for a fleet and a span, unless the fleet has a pin for the span already.

        Returns:
            The id of the pinned set, which the caller must read. If an earlier call has pinned another set,
            this is the id of that set.

        Raises:
            BadInput: if the set is not published, or the name of the fleet is not safe.
        """

    @abc.abstractmethod
    def read_pin(self, fleet: str, span: int) -> str | None:
        """Returns the id of the set that a fleet has pinned for a span, or None."""

    @abc.abstractmethod
    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Deletes unpublished attempts; keeps published sets.

        Args:
            older_than_seconds: minimum age in seconds since the attempt's last write.
            dry_run: delete nothing; only return the ids of the attempts that would be deleted.

        Returns:
            Ids of the deleted attempts. These attempts can no longer be published.
        """

    @abc.abstractmethod
    def delete_unpinned(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Deletes old published sets that no fleet has pinned.

        Args:
            older_than_seconds: minimum age in seconds since publication.
            dry_run: delete nothing; only return the ids of the sets that would be deleted.

        Returns:
            Ids of the deleted sets.
        """

    def initialize(self) -> list[str]:
        """Creates the tables that the backend does not create on first use; returns their names."""
        return []

    def find_set(self, set_id: str) -> LabelSetRecord:
        """Returns the record of a published set.

        Raises:
            BadInput: if the set is not published.
        """
        for record in self.list_sets():
            if record.set_id == set_id:
                return record
        raise unknown_set_error(set_id)


class DamagedSet(BadInput):
    """Rows or a file of a published label set are missing, or a file cannot be read."""


_DAMAGED_SET_FIX = "Restore the file, or label the span again with `rankdistill backfill --supersede`."


def lost_file_error(set_id: str, path: str) -> DamagedSet:
    """Error for a published set with a missing file."""
    return DamagedSet(
        "a published label set has lost a file", where=f"label set {set_id}", expected=path,
        got="no such file", fix=_DAMAGED_SET_FIX,
    )  # fmt: skip


def unreadable_file_error(set_id: str, path: str, expected: str, got: str) -> DamagedSet:
    """Error for a published set with an unreadable file; `path` is the file or its folder."""
    return DamagedSet(
        "a published label set has an unreadable file", where=f"label set {set_id}",
        expected=f"{expected} in {path}", got=" ".join(got.split())[:300], fix=_DAMAGED_SET_FIX,
    )  # fmt: skip


def unknown_set_error(set_id: str) -> BadInput:
    """Error for a set id that is not published."""
    return BadInput(
        "no published set",
        where="label store",
        expected="the id of a published label set",
        got=repr(set_id),
        fix="List the published sets with `rankdistill labels ls`.",
    )


def row_schema(tasks: Sequence[str]) -> pa.Schema:
    """Schema of label rows: the fixed columns and one nullable float32 per task, in the order of `tasks`."""
    return pa.schema([*FIXED_COLUMNS, *(pa.field(SOFT_PREFIX + task, pa.float32()) for task in tasks)])
