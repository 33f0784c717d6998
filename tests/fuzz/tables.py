"""Strategies of Arrow tables that are almost valid, and of their Parquet files."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

_TEXTS = st.sampled_from(["", "a", "tab_1", "\x00", "\u2028", "\U0001f600", "x" * 300, "1.5"]) | st.text(
    max_size=4
)
_INTEGERS = st.sampled_from([0, 3, -1, -(2**63), 2**63 - 1, 1_650_000_000_000]) | st.integers(
    -(2**63), 2**63 - 1
)
_FLOATS = st.sampled_from([0.0, 1.0, -1.0, 2.0, 3e38, float("nan"), float("inf")]) | st.floats(width=32)
_NOT_UTF8 = pa.array([b"\xff\xfe", b"\xed\xa0\x80", b"a\x80"], pa.binary())
_TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.binary(), st.binary(max_size=4)),
    (pa.int64(), _INTEGERS),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), _FLOATS),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))),
    (pa.decimal128(10, 2), st.sampled_from([decimal.Decimal("1.25"), decimal.Decimal("-3.00")])),
    (pa.list_(pa.string()), st.lists(st.none() | _TEXTS, max_size=3)),
    (pa.list_(pa.field("element", pa.string())), st.lists(_TEXTS, max_size=3)),
    (pa.list_(pa.list_(pa.string())), st.lists(st.lists(_TEXTS, max_size=2), max_size=2)),
    (pa.list_(pa.float32()), st.lists(_FLOATS, max_size=3)),
    (pa.large_list(pa.string()), st.lists(_TEXTS, max_size=3)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": _INTEGERS})),
    (pa.map_(pa.string(), pa.int64()), st.lists(st.tuples(_TEXTS, _INTEGERS), max_size=2)),
]


@st.composite
def columns(draw: st.DrawFn, num_rows: int, kind: pa.DataType | None = None) -> pa.Array:
    """A column of a random type, or of `kind`, with nulls, dictionaries and text that is not UTF-8."""
    known = [entry for entry in _TYPES if entry[0] == kind]
    chosen, values = draw(st.sampled_from(known or _TYPES))
    if draw(st.booleans()):
        values |= st.none()
    column = pa.array(draw(st.lists(values, min_size=num_rows, max_size=num_rows)), chosen)
    extra = draw(st.sampled_from(["none", "none", "none", "dictionary", "not UTF-8"]))
    if extra == "dictionary" and not pa.types.is_nested(chosen) and not pa.types.is_null(chosen):
        return column.dictionary_encode()
    if extra == "not UTF-8" and num_rows:
        binary = _NOT_UTF8.take(pa.array([row % 3 for row in range(num_rows)]))
        text = pa.Array.from_buffers(pa.string(), num_rows, binary.buffers())
        if chosen == pa.string():
            return text
        if chosen == pa.list_(pa.string()):
            return pa.ListArray.from_arrays(pa.array(range(num_rows + 1), pa.int32()), text)
    return column


@st.composite
def edited(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """A valid table with other values, types, names, rows or columns."""
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        if not table.num_columns:
            break
        position = draw(st.integers(0, table.num_columns - 1))
        field = table.schema.field(position)
        edit = draw(
            st.sampled_from(["values", "values", "type", "drop", "twice", "name", "add", "rows", "move"])
        )
        if edit in ("values", "type"):
            column = draw(columns(table.num_rows, field.type if edit == "values" else None))
            table = table.set_column(position, field.name, column)
        elif edit == "drop":
            table = table.remove_column(position)
        elif edit == "twice":
            table = table.append_column(field.name, table.column(position))
        elif edit == "name":
            names = [*table.column_names]
            names[position] = draw(_TEXTS)
            table = table.rename_columns(names)
        elif edit == "add":
            name = draw(st.sampled_from(["extra", "label_other", "soft_like", "__index_level_0__"]) | _TEXTS)
            table = table.append_column(name, draw(columns(table.num_rows)))
        elif edit == "rows":
            rows = (
                draw(st.lists(st.integers(0, max(0, table.num_rows - 1)), max_size=6))
                if table.num_rows
                else []
            )
            table = table.take(pa.array(rows, pa.int64()))
        else:
            table = table.remove_column(position).add_column(0, field, table.column(position))
    return table


@st.composite
def parquet_files(draw: st.DrawFn, table: pa.Table) -> bytes:
    """An edited table as a Parquet file; writers differ in versions, row groups, metadata and compression."""
    table = draw(edited(table))
    if draw(st.integers(0, 9)) == 0:
        table = table.replace_schema_metadata({b"pandas": draw(st.binary(max_size=8)), b"\xff": b"\xff"})
    options: dict[str, Any] = {
        "version": draw(st.sampled_from(["1.0", "2.4", "2.6"])),
        "row_group_size": draw(st.integers(1, 4)),
        "compression": draw(st.sampled_from(["none", "snappy", "gzip", "zstd"])),
        "use_dictionary": draw(st.booleans()),
        "write_statistics": draw(st.booleans()),
    }
    try:
        return as_parquet(table, **options)
    except pa.ArrowException:
        # Parquet has no such type.
        return b""


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()
