"""What a store of soft labels promises, whatever keeps the bytes.

Labels come in *label sets*: every label one teacher gave to one span. A set becomes visible all at once or
not at all, and never changes afterwards. A newer revision stands beside the older one; a fleet's pin says
which of them its students read.

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
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE

EVENT_DATE = "event_date"
FIXED_COLUMNS = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        pa.field(EVENT_DATE, pa.date32(), nullable=False),
        pa.field(SURFACE, pa.string()),
    ]
)
"""What every label row has besides its `soft_<task>` columns."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def require_name(value: str, what: str) -> str:
    """Returns `value` if it may be part of a path and of a set id.

    Raises:
        BadInput: if it holds anything but letters, digits, `_` and `-`.
    """
    if not _NAME.fullmatch(value):
        raise BadInput(
            f"not a usable {what}",
            where="label store",
            expected="letters, digits, _ and -",
            got=repr(value),
            fix="Rename it in the config.",
        )
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftColumn:
    """What the numbers in one `soft_<task>` column mean; a column never changes its meaning.

    Attributes:
        kind: a probability in [0, 1], or a regression's expected value on `scale`.
        link: the function from the teacher's logit to the number stored.
        unit: what one stands for, in words.
        scale: how the hard label was transformed before the teacher learnt it.
    """

    kind: Literal["binary", "regression"]
    link: Literal["sigmoid", "identity"]
    unit: str
    scale: str = "identity"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSetKey:
    """What a label set is a set *of*. Of several sets with one key, revisions tell them apart."""

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
        """What the id of every set with this key begins with, and of no other."""
        return f"{self.teacher}.{self.teacher_version}.span-{self.span:05d}.{self.span_version}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedShard:
    """One shard that lies ready and that no reader sees yet.

    Attributes:
        name: which shard of the set this is; a retried bundle stages the same name again.
        path: where the backend finds it.
        size_bytes: its size, checked again before it is published.
        rows: label rows in it.
        rows_per_surface: the same, by surface.
        first_date: the rows' first `event_date`, ISO 8601; empty without rows.
        last_date: the last one.
        checksum: see `fingerprints.checksum`.
        fault: empty, or what makes its labels unfit. The worker measures, whoever publishes refuses: an
            exception in a Beam worker would be retried and arrive wrapped.
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
    """What only the labelling job knows about the set it publishes.

    Attributes:
        feature_version: the teacher's feature version.
        label_age_spans: how many spans the teacher is behind the one it labelled.
        seconds: how long labelling took.
        extra: figures worth keeping, by name.
    """

    feature_version: str
    label_age_spans: int
    seconds: float
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSetRecord:
    """Everything known about a published set; written once, together with it.

    Attributes:
        set_id: unique for ever, also among attempts that lost.
        key: what it is a set of.
        revision: 1 for the first set of its key.
        columns: task → the meaning of its `soft_<task>`.
        facts: what the labelling job said.
        rows: label rows.
        distinct_ids: distinct example ids, equal to `rows` (a set with duplicates is refused).
        rows_per_surface: surface → rows.
        first_date: the rows' first `event_date`, ISO 8601; empty without rows.
        last_date: the last one.
        checksum: 16 hex digits; independent of the order and the sharding of the rows.
        created_ms: when it was published, Unix milliseconds.
    """

    set_id: str
    key: LabelSetKey
    revision: int
    columns: dict[str, SoftColumn]
    facts: SetFacts
    rows: int
    distinct_ids: int
    rows_per_surface: dict[str, int]
    first_date: str
    last_date: str
    checksum: str
    created_ms: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class StockSink:
    """What Beam's own WriteToBigQuery has to know.

    Attributes:
        table: `project:dataset.table`.
        temporary: a prefix in Cloud Storage.
        id_column: the column for the set's id.
    """

    table: str
    temporary: str
    id_column: str


class ShardWriter(abc.ABC):
    """One attempt at a label set, in the hands of the workers. Picklable.

    Attributes:
        columns: task → the meaning of its column.
    """

    columns: dict[str, SoftColumn]

    @property
    @abc.abstractmethod
    def set_id(self) -> str:
        """The id the set will have if this attempt is the one that gets published."""

    @property
    def stock_sink(self) -> StockSink | None:
        """Where Beam's own sink is to write the rows; None where `write` stages them."""
        return None

    @abc.abstractmethod
    def write(self, name: str, table: pa.Table) -> StagedShard:
        """Stages one shard; again under the same name after a retry, and one copy will be published.

        Args:
            name: which shard this is.
            table: columns of `FIXED_COLUMNS` and a float32 `soft_<task>` for each of the set's tasks.

        Raises:
            ValueError: if the table's columns are not exactly those.
        """


class LabelStore(abc.ABC):
    """Label sets, published once and read by many.

    A backend implements these verbs and passes `tests/components/label_store/test_contract.py`.
    """

    @abc.abstractmethod
    def stage(self, key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> ShardWriter:
        """Begins an attempt at a set. Nothing of it is visible before `publish`."""

    @abc.abstractmethod
    def publish(
        self, writer: ShardWriter, shards: Sequence[StagedShard], facts: SetFacts, *, supersede: bool = False
    ) -> LabelSetRecord:
        """Makes the staged shards visible, all of them or none.

        Args:
            writer: the attempt.
            shards: what its `write` returned, in any order; may be empty.
            facts: what goes into the record.
            supersede: publish a new revision although the key has a set.

        Returns:
            The record of the key's newest set: this attempt's, or the one that was published before it,
            in which case this attempt's shards stay invisible.

        Raises:
            BadInput: if a label is no number or out of range, an example id appears twice, a column
                already means something else, or the shards have been collected.
        """

    @abc.abstractmethod
    def list_sets(self) -> list[LabelSetRecord]:
        """Records of all published sets, oldest first."""

    @abc.abstractmethod
    def scan(
        self, set_id: str, columns: Sequence[str], *, surface: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Reads a published set; columns and surface are pushed down to storage.

        Raises:
            BadInput: if no such set is published, or it has no such column.
        """

    @abc.abstractmethod
    def pin(self, fleet: str, span: int, set_id: str) -> str:
        """Says which set the fleet reads for a span, unless that has been said already.

        Returns:
            The pinned set's id, which is what everybody must go by: `set_id` or an earlier caller's.

        Raises:
            BadInput: if no such set is published.
        """

    @abc.abstractmethod
    def read_pin(self, fleet: str, span: int) -> str | None:
        """The fleet's pin of a span, or None."""

    @abc.abstractmethod
    def delete_unpublished(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Removes what failed and losing attempts left behind; never anything published.

        Args:
            older_than_seconds: grace, in seconds since an attempt last wrote anything.
            dry_run: change nothing, and say what would go.

        Returns:
            Ids of the attempts removed. Each is barred from being published later.
        """

    @abc.abstractmethod
    def delete_expired(self, *, older_than_seconds: float, dry_run: bool = False) -> list[str]:
        """Removes published sets that are older and that no fleet has pinned; returns their ids."""

    def initialize(self) -> list[str]:
        """Makes what must be there before the first label; returns what is there now, by name."""
        return []

    def find_set(self, set_id: str) -> LabelSetRecord:
        """The record of a published set.

        Raises:
            BadInput: if there is none of that id.
        """
        for record in self.list_sets():
            if record.set_id == set_id:
                return record
        raise unknown_set(set_id, "published set")

    def resolve_set(self, key: LabelSetKey) -> LabelSetRecord | None:
        """The newest revision for a key, or None."""
        revisions = [record for record in self.list_sets() if record.key == key]
        return max(revisions, key=lambda record: record.revision, default=None)


def unknown_set(set_id: str, what: str) -> BadInput:
    """The error for a set id that names nothing visible."""
    return BadInput(
        f"no {what}",
        where="label store",
        expected="the id of a published label set",
        got=repr(set_id),
        fix="List the store's sets; an attempt that lost or failed never becomes one.",
    )


def row_schema(tasks: Sequence[str]) -> pa.Schema:
    """The columns of a shard: the fixed ones and one nullable float32 per task, in the order given."""
    return pa.schema([*FIXED_COLUMNS, *(pa.field(SOFT_PREFIX + task, pa.float32()) for task in tasks)])
