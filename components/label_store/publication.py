"""Steps of publication that all backends share: set ids, checks of shards, draft of the record, errors."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from components.label_store.base import (
    EVENT_DATE,
    LabelSetKey,
    LabelSetRecord,
    SetFacts,
    SoftColumn,
    StagedShard,
    require_name,
    row_schema,
)
from components.label_store.faults import find_fault
from components.label_store.fingerprints import compute_checksum
from eventlog.errors import BadInput
from eventlog.rows import EXAMPLE_ID, SURFACE


def make_set_id(key: LabelSetKey, columns: Mapping[str, SoftColumn]) -> str:
    """Returns a unique id for an attempt; `columns` are those of `LabelStore.stage`.

    Raises:
        BadInput: if a task's name cannot be part of a column name.
    """
    for task in columns:
        require_name(task, "task name")
    return key.prefix + uuid.uuid4().hex[:12]


def key_from_set_id(set_id: str) -> LabelSetKey:
    """Parses the key in a set id that `make_set_id` has made."""
    teacher, version, span, span_version, _ = set_id.split(".")
    return LabelSetKey(
        teacher=teacher,
        teacher_version=version,
        span=int(span.removeprefix("span-")),
        span_version=int(span_version),
    )


def prepare_rows(name: str, table: pa.Table, columns: Mapping[str, SoftColumn]) -> pa.Table:
    """Casts a shard's rows to the set's schema and sorts them by surface and example id.

    Raises:
        BadInput: if `name` is not a safe name; see `require_name`.
        ValueError: if the table does not have exactly the columns of the set, in their order.
    """
    require_name(name, "shard name")
    expected = row_schema(list(columns))
    if table.schema.names != expected.names:
        raise ValueError(f"a label shard has columns {expected.names}, got {table.schema.names}.")
    table = table.cast(expected)
    return table.take(pc.sort_indices(table, [(SURFACE, "ascending"), (EXAMPLE_ID, "ascending")]))


def describe_shard(
    name: str, path: str, size_bytes: int, table: pa.Table, columns: Mapping[str, SoftColumn]
) -> StagedShard:
    """Builds the description of a written shard, so that `publish` does not have to read its labels.

    Args:
        name: name of the shard within the set.
        path: path of the file; see `StagedShard`.
        size_bytes: size of the file.
        table: rows of the shard, from `prepare_rows`.
        columns: task → kind, link, unit and scale of its column.
    """
    surfaces = pc.value_counts(table[SURFACE])
    dates = pc.min_max(table[EVENT_DATE]).as_py()
    return StagedShard(
        name=name,
        path=path,
        size_bytes=size_bytes,
        rows=table.num_rows,
        rows_per_surface={entry["values"]: entry["counts"] for entry in surfaces.to_pylist()},
        first_date=dates["min"].isoformat() if table.num_rows else "",
        last_date=dates["max"].isoformat() if table.num_rows else "",
        checksum=compute_checksum(table),
        fault=find_fault(table, columns),
    )


def deduplicate_shards(shards: Sequence[StagedShard]) -> list[StagedShard]:
    """Returns one shard for each name, sorted by name. The order of `shards` does not change the result."""
    by_path = sorted(shards, key=lambda shard: shard.path, reverse=True)
    return sorted({shard.name: shard for shard in by_path}.values(), key=lambda shard: shard.name)


def draft_record(
    set_id: str,
    columns: Mapping[str, SoftColumn],
    shards: Sequence[StagedShard],
    facts: SetFacts,
    revision: int = 0,
) -> LabelSetRecord:
    """Builds the record of a set before publication.

    Args:
        set_id: id of the attempt.
        columns: task → kind, link, unit and scale of its column.
        shards: one copy of each shard.
        facts: stored in the record.
        revision: revision of the set; 0 if the backend assigns the revision later.
    """
    rows = sum(shard.rows for shard in shards)
    surfaces = sorted({surface for shard in shards for surface in shard.rows_per_surface})
    non_empty = [shard for shard in shards if shard.rows]
    return LabelSetRecord(
        set_id=set_id,
        key=key_from_set_id(set_id),
        revision=revision,
        columns=dict(columns),
        facts=facts,
        rows=rows,
        rows_per_surface={
            name: sum(shard.rows_per_surface.get(name, 0) for shard in shards) for name in surfaces
        },
        first_date=min((shard.first_date for shard in non_empty), default=""),
        last_date=max((shard.last_date for shard in non_empty), default=""),
        checksum=f"{sum(shard.checksum for shard in shards) % 2**64:016x}",
        created_ms=int(time.time() * 1000),
    )


class UnfitLabels(BadInput):
    """The teacher's labels must not be published, although the input of the labelling job is valid."""


def refuse_faults(set_id: str, shards: Sequence[StagedShard]) -> None:
    """Checks that no shard has a `fault`.

    Raises:
        UnfitLabels: with the first fault.
    """
    for shard in shards:
        if shard.fault:
            raise UnfitLabels(
                "invalid labels",
                where=f"label set {set_id}, shard {shard.name}",
                expected="finite numbers, probabilities in [0, 1]",
                got=shard.fault,
                fix="Check the teacher; nothing was published.",
            )


def duplicate_labels_error(set_id: str, example_ids: Sequence[str]) -> BadInput:
    """Error for a set in which an example id has several rows."""
    return BadInput(
        "example ids labelled twice",
        where=f"label set {set_id}",
        expected="each example_id once in a span",
        got=", ".join(example_ids),
        fix="Remove the duplicates from the event log; nothing was published.",
    )


def column_conflict_error(name: str, where: str, expected: str, got: str) -> BadInput:
    """Error for a task whose column already has another meaning."""
    return BadInput(
        f"column {name} has another meaning already",
        where=where,
        expected=expected,
        got=got,
        fix="Rename the task: the meaning of a column cannot change.",
    )


def unknown_column_error(set_id: str, where: str, name: str, columns: Sequence[str]) -> BadInput:
    """Error for a scan of a column that the set does not have."""
    return BadInput(
        f"label set {set_id} has no column {name}",
        where=where,
        expected=f"one of {', '.join(columns)}",
        got=name,
        fix="Choose a task that this teacher has labelled.",
    )


def collected_attempt_error(set_id: str) -> BadInput:
    """Error for a barred attempt, or an attempt whose staged shards are missing or changed."""
    return BadInput(
        "staged shards are missing or changed",
        where=f"label set {set_id}",
        expected="all shards as they were staged",
        got="shards that `labels gc` has deleted or another program has changed",
        fix="Label the span again, and run `labels gc` with more --grace-hours. Nothing was published.",
    )
