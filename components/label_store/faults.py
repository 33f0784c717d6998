"""Checks label rows: ids present, labels finite, probabilities in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from components.label_store.base import SoftColumn
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX


def find_fault(table: pa.Table, columns: Mapping[str, SoftColumn]) -> str:
    """Returns a description of the first fault in a shard; empty if there is none.

    Faults are NaN, infinity, a probability outside [0, 1] and a row without an example id. A null label is
    not a fault: null means that the teacher gave no label.

    Args:
        table: label rows with a `soft_<task>` for each of `columns`.
        columns: task → kind, link, unit and scale of its column.
    """
    num_missing = table[EXAMPLE_ID].null_count
    if num_missing:
        return f"{num_missing} rows without an example_id"
    for task, column in columns.items():
        values = table[SOFT_PREFIX + task]
        valid = pc.is_finite(values)
        if column.kind == "binary":
            valid = pc.and_(valid, pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0)))
        position = pc.index(pc.fill_null(valid, True), False).as_py()
        if position >= 0:
            example = table[EXAMPLE_ID][position].as_py()
            return f"{SOFT_PREFIX}{task} = {values[position].as_py()} of example {example!r}"
    return ""
