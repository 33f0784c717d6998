"""The columns of an event log: their types, and the conversion of other tools' types to them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as pt

from eventlog.errors import BadInput
from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX

LABEL_TYPE = pa.float32()
TYPES = (pa.string(), pa.int64(), pa.float32())
"""Types of a feature's values. A column has one value in a row, or a list of values."""


@dataclass(frozen=True)
class LogColumns:
    """The columns that a reader needs from an event log, besides FIXED_COLUMNS.

    Attributes:
        delays: task → number of spans after which its label comes, 0 for a label in the fresh row. The label
            of a task is in the column `label_<task>`.
        features: name → Arrow type of each other column: one of TYPES, or a list of it.
        optional: names in `features` that a file may lack; the column is then null.
    """

    delays: Mapping[str, int]
    features: Mapping[str, pa.DataType]
    optional: frozenset[str] = frozenset()

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The types of all columns: the fixed ones, the labels, the other ones."""
        labels = [pa.field(LABEL_PREFIX + task, LABEL_TYPE) for task in self.delays]
        features = [pa.field(name, kind) for name, kind in self.features.items()]
        return pa.schema([*FIXED_COLUMNS, *labels, *features])

    @property
    def ages(self) -> list[int]:
        """The ages, in spans, of the rows that have labels, ascending; 0, for fresh rows, is always first."""
        return sorted({0, *self.delays.values()})

    def tasks_at(self, age: int) -> tuple[str, ...]:
        """The tasks whose labels come in rows of this age."""
        return tuple(task for task, delay in self.delays.items() if delay == age)


def canonical_schema(schema: pa.Schema, where: str) -> pa.Schema:
    """The schema of an event log that holds the columns of `schema`, converted to the log's types.

    Args:
        schema: the columns, in any order and of any tool's types.
        where: the file or table, for error messages.

    Returns:
        The fixed columns, the labels, then all other columns, each group in the order of `schema`.

    Raises:
        BadInput: if a column occurs twice, a fixed column is missing, or a type has no counterpart in TYPES.
    """
    require_distinct(schema, where)
    for field in FIXED_COLUMNS:
        if field.name not in schema.names:
            raise BadInput(
                f"missing column {field.name}", where=where, expected=f"{field.name} of type {field.type}",
                got=f"columns {', '.join(schema.names)}"[:200], fix="Add the column: every event log has it.",
            )  # fmt: skip
    others = [field for field in schema if field.name not in FIXED_COLUMNS.names]
    labels = [pa.field(field.name, LABEL_TYPE) for field in others if field.name.startswith(LABEL_PREFIX)]
    features = [
        pa.field(field.name, _canonical_type(field, where))
        for field in others
        if not field.name.startswith(LABEL_PREFIX)
    ]
    return pa.schema([*FIXED_COLUMNS, *labels, *features])


def require_distinct(schema: pa.Schema, where: str) -> None:
    """Raises BadInput if a name occurs twice in `schema`, which Arrow's dataset reader would refuse."""
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise BadInput(
                f"column {name} twice", where=where, expected="every column once", got=f"{count} of them",
                fix="Repair the source and write the span again.",
            )  # fmt: skip


def convert(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Converts a table to `schema`: other columns are left out, missing columns become null.

    Raises:
        pa.ArrowInvalid: if a value does not fit its type, such as an integer above the largest int64; names
            the column.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        try:
            columns.append(_convert_column(table[field.name], field.type))
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"column {field.name}: {error}") from error
    return pa.table(columns, schema=schema)


def is_convertible(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether `convert` turns a column of type `given` into `wanted` without a change of meaning."""
    if pt.is_null(given):
        return True
    if _is_list(given) or pt.is_list(wanted):
        return _is_list(given) and pt.is_list(wanted) and is_convertible(given.value_type, wanted.value_type)
    given = given.value_type if pt.is_dictionary(given) else given
    return any(is_given(given) for is_given in _CONVERTIBLE[wanted])


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


_CONVERTIBLE: Mapping[pa.DataType, tuple[Callable[[pa.DataType], bool], ...]] = {
    # Ids are often integers. Their texts are exact, unlike those of floating point numbers.
    pa.string(): (_is_text, pt.is_integer),
    pa.int64(): (pt.is_integer, pt.is_boolean),
    pa.float32(): (pt.is_floating, pt.is_integer, pt.is_boolean, pt.is_decimal),
}
"""Type in the log → tests of the types that are converted to it."""


def _canonical_type(field: pa.Field, where: str) -> pa.DataType:
    kind = field.type
    is_list = _is_list(kind)
    value_type = kind.value_type if is_list else kind
    value_type = value_type.value_type if pt.is_dictionary(value_type) else value_type
    if pt.is_null(value_type):
        return pa.list_(pa.string()) if is_list else pa.string()
    # int64 comes first, because integers are convertible to all three types and must stay integers.
    for wanted in (pa.int64(), pa.string(), pa.float32()):
        if is_convertible(value_type, wanted):
            return pa.list_(wanted) if is_list else wanted
    raise BadInput(
        f"column {field.name} of type {kind}", where=where, got=str(kind),
        expected="text, integers, numbers, truth values, or lists of them",
        fix="Convert the column, or leave it out.",
    )  # fmt: skip


def _convert_column(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(wanted):
        return column
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_floating(wanted) and not pt.is_floating(column.type):
        # A direct cast refuses a large integer without an exact float32. Through float64 it is rounded.
        return column.cast(pa.float64(), safe=False).cast(wanted)
    return column.cast(wanted)
