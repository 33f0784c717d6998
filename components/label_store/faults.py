"""What makes labels unfit to be published."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from components.label_store.base import SoftColumn
from eventlog.rows import EXAMPLE_ID, SOFT_PREFIX


def find_fault(table: pa.Table, columns: Mapping[str, SoftColumn]) -> str:
    """The first fault of a shard's labels in words, or an empty text.

    A null label is none: the teacher had no answer. NaN, infinity and a probability outside [0, 1] are, and
    so is a row without an id.

    Args:
        table: label rows with a `soft_<task>` for each of `columns`.
        columns: task → meaning.
    """
    missing = table[EXAMPLE_ID].null_count
    if missing:
        return f"{missing} rows without an example_id"
    for task, column in columns.items():
        values = table[SOFT_PREFIX + task]
        fit = pc.is_finite(values)
        if column.kind == "binary":
            fit = pc.and_(fit, pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0)))
        position = pc.index(pc.fill_null(fit, True), False).as_py()
        if position >= 0:
            example = table[EXAMPLE_ID][position].as_py()
            return f"{SOFT_PREFIX}{task} = {values[position].as_py()} of example {example!r}"
    return ""
