"""Verification of a label set against its record, and comparison of two label sets."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pyarrow as pa

from components.label_store.base import EVENT_DATE, LabelStore, row_schema
from components.label_store.fingerprints import compute_checksum, duplicated_ids
from eventlog.errors import BadInput
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX, SURFACE


@dataclasses.dataclass(frozen=True)
class TaskDifference:
    """Difference of one task's labels between two sets, over the examples that are in both sets.

    Attributes:
        task: name of the task.
        changed: number of examples whose two labels are not equal.
        mean: mean absolute difference, over the examples with a label in both sets; 0 if there are none.
        largest: largest absolute difference, over the same examples; 0 if there are none.
    """

    task: str
    changed: int
    mean: float
    largest: float


@dataclasses.dataclass(frozen=True)
class SetDifference:
    """Difference of two label sets.

    Attributes:
        shared: number of examples that are in both sets.
        only_first: number of examples that are only in the first set.
        only_second: number of examples that are only in the second set.
        tasks: one entry for each task that has a column in both sets.
    """

    shared: int
    only_first: int
    only_second: int
    tasks: list[TaskDifference]


def verify_set(store: LabelStore, set_id: str) -> list[str]:
    """Compares a published set's rows with its record.

    Returns:
        One line for each figure that differs from the record; empty if all figures agree.

    Raises:
        BadInput: if the set is not published.
        DamagedSet: if rows or a file of the set are missing, or a file cannot be read.
    """
    record = store.find_set(set_id)
    table = _read_rows(store, set_id)
    surfaces = {entry["values"]: entry["counts"] for entry in table[SURFACE].value_counts().to_pylist()}
    figures = {
        "rows": (record.rows, table.num_rows),
        "rows per surface": (record.rows_per_surface, dict(sorted(surfaces.items(), key=str))),
        "example ids labelled twice": ([], duplicated_ids(table[EXAMPLE_ID])),
        "checksum": (record.checksum, f"{compute_checksum(table):016x}"),
    }
    return [
        f"{name}: expected {recorded}, got {counted}"
        for name, (recorded, counted) in figures.items()
        if recorded != counted
    ]


def diff_sets(store: LabelStore, first: str, second: str) -> SetDifference:
    """Compares two published sets example by example.

    Args:
        store: the label store.
        first: id of a published set.
        second: id of another published set.

    Raises:
        BadInput: if one of the sets is not published, or has an example twice.
    """
    first_rows, second_rows = (_read_by_example_id(store, set_id) for set_id in (first, second))
    shared = first_rows.index.intersection(second_rows.index)
    tasks = []
    for name in first_rows.columns:
        if not name.startswith(SOFT_PREFIX) or name not in second_rows.columns:
            continue
        labels, other_labels = first_rows.loc[shared, name], second_rows.loc[shared, name]
        differences = (labels - other_labels).abs().dropna()
        equal = (labels == other_labels) | (labels.isna() & other_labels.isna())
        mean, largest = (differences.mean(), differences.max()) if len(differences) else (0.0, 0.0)
        task = name.removeprefix(SOFT_PREFIX)
        tasks.append(TaskDifference(task, int((~equal).sum()), float(mean), float(largest)))
    return SetDifference(len(shared), len(first_rows) - len(shared), len(second_rows) - len(shared), tasks)


def _read_by_example_id(store: LabelStore, set_id: str) -> pd.DataFrame:
    table = _read_rows(store, set_id)
    if duplicates := duplicated_ids(table[EXAMPLE_ID]):
        raise BadInput(
            "example ids labelled twice", where=f"label set {set_id}", expected="each example_id once",
            got=", ".join(duplicates), fix="Run `rankdistill labels verify`, and label the span again.",
        )  # fmt: skip
    return table.to_pandas().set_index(EXAMPLE_ID)


def _read_rows(store: LabelStore, set_id: str) -> pa.Table:
    schema = row_schema(list(store.find_set(set_id).columns))
    schema = schema.remove(schema.get_field_index(EVENT_DATE))
    return pa.Table.from_batches(store.scan(set_id, schema.names), schema=schema)
