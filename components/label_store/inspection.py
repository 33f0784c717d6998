"""Looking at label sets: does a set hold what its record says, and how do two sets differ?"""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from components.label_store.base import EVENT_DATE, LabelStore, row_schema
from components.label_store.fingerprints import checksum, duplicated_ids
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE


@dataclasses.dataclass(frozen=True)
class TaskDifference:
    """How one task's labels differ between two sets, on the examples that both label.

    Attributes:
        task: its name.
        changed: examples whose label is not the same to the last bit.
        mean: mean of the absolute differences, on the examples labelled in both.
        largest: the largest of them.
    """

    task: str
    changed: int
    mean: float
    largest: float


@dataclasses.dataclass(frozen=True)
class SetDifference:
    """How two sets differ.

    Attributes:
        shared: examples that both hold.
        only_first: examples of the first alone.
        only_second: examples of the second alone.
        tasks: by task that both have a column of.
    """

    shared: int
    only_first: int
    only_second: int
    tasks: list[TaskDifference]


def verify_set(store: LabelStore, set_id: str) -> list[str]:
    """Recounts a published set from its rows.

    Returns:
        One line per thing that is not as the record says; none when all is well.

    Raises:
        BadInput: if no such set is published.
    """
    record = store.find_set(set_id)
    table = _read(store, set_id)
    twice = duplicated_ids(table[EXAMPLE_ID])
    surfaces = {entry["values"]: entry["counts"] for entry in table[SURFACE].value_counts().to_pylist()}
    found = {
        "rows": (record.rows, table.num_rows),
        "rows per surface": (record.rows_per_surface, dict(sorted(surfaces.items()))),
        "example ids labelled twice": ([], twice),
        "checksum": (record.checksum, f"{checksum(table):016x}"),
    }
    return [
        f"{what}: expected {said}, got {counted}"
        for what, (said, counted) in found.items()
        if said != counted
    ]


def diff_sets(store: LabelStore, first: str, second: str) -> SetDifference:
    """Compares two published sets example by example.

    Raises:
        BadInput: if one of them is not published.
    """
    one, other = (_read(store, set_id).to_pandas().set_index(EXAMPLE_ID) for set_id in (first, second))
    shared = one.index.intersection(other.index)
    tasks = []
    for name in (name for name in one.columns if name.startswith(SOFT_PREFIX) and name in other.columns):
        left, right = one.loc[shared, name], other.loc[shared, name]
        apart = (left - right).abs().dropna()
        same = (left == right) | (left.isna() & right.isna())
        mean, largest = (float(apart.mean()), float(apart.max())) if len(apart) else (0.0, 0.0)
        tasks.append(TaskDifference(name.removeprefix(SOFT_PREFIX), int((~same).sum()), mean, largest))
    return SetDifference(len(shared), len(one) - len(shared), len(other) - len(shared), tasks)


def _read(store: LabelStore, set_id: str) -> pa.Table:
    schema = row_schema(list(store.find_set(set_id).columns))
    columns = [name for name in schema.names if name != EVENT_DATE]
    wanted = pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(store.scan(set_id, columns), schema=wanted)
