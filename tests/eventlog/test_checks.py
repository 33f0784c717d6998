import dataclasses
import decimal
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.checks import SpanCounts, check_span
from eventlog.errors import BadInput
from eventlog.kuairand.columns import DELAYED_TASKS, IMMEDIATE_TASKS, LOG_COLUMNS, LOG_SCHEMA
from eventlog.spans import span_files, write_span

SPAN = 3
TIME_MS = 1_650_000_000_000


def fresh(example_id: str, **changes: Any) -> dict[str, Any]:
    row = {
        "example_id": example_id,
        "event_time_ms": TIME_MS,
        "impression_span": SPAN,
        "surface": "tab_1",
        "cluster_id": "u",
        "duration_seconds": 2.0,
    }
    return {**row, **{f"label_{task}": 1.0 for task in IMMEDIATE_TASKS}, **changes}


def matured(example_id: str, **changes: Any) -> dict[str, Any]:
    row = {name: value for name, value in fresh(example_id).items() if not name.startswith("label_")}
    return {**row, "impression_span": 0, **{f"label_{task}": 1.0 for task in DELAYED_TASKS}, **changes}


def write_log(folder: Path, rows: list[dict[str, Any]]) -> Path:
    filler = pa.Table.from_pylist([fresh("filler")], schema=LOG_SCHEMA)
    for span in range(SPAN):
        write_span(folder, span, [filler])
    write_span(folder, SPAN, [pa.Table.from_pylist(rows, schema=LOG_SCHEMA)])
    return folder


def rewrite(log: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    (file,) = span_files(log, SPAN)
    pq.write_table(change(pq.read_table(file, partitioning=None)), file)
    return log


def test_a_correct_span_passes_and_its_rows_are_counted(tmp_path: Path) -> None:
    log = write_log(tmp_path, [matured("a"), fresh("a"), fresh("b", label_like=None)])
    assert check_span(log, SPAN, LOG_COLUMNS) == SpanCounts(fresh=2, matured=1)


def test_a_span_without_matured_rows_passes(tmp_path: Path) -> None:
    assert check_span(write_log(tmp_path, [fresh("a")]), SPAN, LOG_COLUMNS) == SpanCounts(fresh=1, matured=0)


def test_extra_columns_and_other_names_of_list_items_pass(tmp_path: Path) -> None:
    element = pa.list_(pa.field("element", pa.string()))

    def change(table: pa.Table) -> pa.Table:
        tag = pa.array([["x"]], type=element)
        changed = table.set_column(table.column_names.index("tag"), pa.field("tag", element), tag)
        return changed.append_column("extra", pa.array([1]))

    assert check_span(rewrite(write_log(tmp_path, [fresh("a")]), change), SPAN, LOG_COLUMNS).fresh == 1


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), lambda table: table.drop(["hour"]))
    with pytest.raises(
        BadInput, match=r"span=3/part-00000\.parquet: missing column hour: expected hour of type"
    ):
        check_span(log, SPAN, LOG_COLUMNS)


def with_column(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


def test_a_missing_column_with_a_similar_name_is_suggested(tmp_path: Path) -> None:
    def rename(table: pa.Table) -> pa.Table:
        return table.rename_columns(["hours" if name == "hour" else name for name in table.column_names])

    log = rewrite(write_log(tmp_path, [fresh("a")]), rename)
    with pytest.raises(BadInput, match=r"missing column hour: .* Did you mean 'hours'\?"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_all_columns_that_do_not_fit_are_named_at_once(tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return with_column("user_id", pa.array([1.0]))(table).drop(["hour", "tag"])

    log = rewrite(write_log(tmp_path, [fresh("a")]), change)
    with pytest.raises(
        BadInput,
        match=r"wrong type of column user_id: expected string, got double.* Also: missing column tag: .*"
        r"got no such column; missing column hour: expected hour of type int64, got no such column\.$",
    ):
        check_span(log, SPAN, LOG_COLUMNS)


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), lambda table: table.drop(["hour"]))
    columns = dataclasses.replace(LOG_COLUMNS, optional=frozenset({"hour"}))
    assert check_span(log, SPAN, columns).fresh == 1


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label_click", pa.array([True])),
        ("label_watch_time", pa.array([decimal.Decimal("1.25")])),
        ("label_like", pa.array([1], pa.int8())),
        ("duration_seconds", pa.array([2.5], pa.float64())),
        ("user_id", pa.array([2**60 + 1])),
        ("video_id", pa.array(["v"]).dictionary_encode()),
        ("surface", pa.array(["tab_1"], pa.large_string())),
        ("impression_span", pa.array([SPAN], pa.int16())),
        ("tag", pa.array([["x"]], pa.large_list(pa.large_string()))),
        ("author_id", pa.nulls(1)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_types_of_other_tools_are_converted(tmp_path: Path, column: str, values: pa.Array) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), with_column(column, values))
    assert check_span(log, SPAN, LOG_COLUMNS) == SpanCounts(fresh=1, matured=0)


@pytest.mark.parametrize(
    ("column", "values", "expected", "got"),
    [
        ("label_click", pa.array(["1"]), "float", "string"),
        ("user_id", pa.array([1.0]), "string", "double"),
        ("event_time_ms", pa.array([1], pa.timestamp("ms")), "int64", "timestamp"),
        ("tag", pa.array(["x"]), "list", "string"),
        ("hour", pa.array([[1]]), "int64", "list"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_a_column_of_another_type_is_refused(
    tmp_path: Path, column: str, values: pa.Array, expected: str, got: str
) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), with_column(column, values))
    with pytest.raises(BadInput, match=f"wrong type of column {column}: expected {expected}.* got {got}"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_value_that_does_not_fit_its_type_is_refused(tmp_path: Path) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), with_column("hour", pa.array([2**63], pa.uint64())))
    with pytest.raises(BadInput, match=r"does not fit the type of its column: .* got column hour: Integer"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("rows", [[], [matured("a")]])
def test_a_span_without_fresh_rows_is_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(BadInput, match="span=3: empty span: expected at least one fresh row"):
        check_span(write_log(tmp_path, rows), SPAN, LOG_COLUMNS)


def test_a_task_without_any_label_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a", label_like=None), fresh("b", label_like=None)])
    with pytest.raises(BadInput, match=r"label_like is null in all fresh rows: .* none in 2 rows"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_delayed_task_without_any_label_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a"), matured("b", label_ltv=None)])
    with pytest.raises(BadInput, match="label_ltv is null in all rows matured after 3 spans"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize(("row", "kind"), [(fresh, "fresh rows"), (matured, "rows matured after 3 spans")])
def test_a_repeated_example_id_is_refused(tmp_path: Path, row: Callable[[str], Any], kind: str) -> None:
    log = write_log(tmp_path, [fresh("z"), row("b"), row("b")])
    with pytest.raises(BadInput, match=rf"duplicate example_id in {kind}.*: .* 1 repeated ids, such as 'b'"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_an_example_id_in_two_files_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a")])
    (file,) = span_files(log, SPAN)
    (file.parent / "part-00001.parquet").write_bytes(file.read_bytes())
    with pytest.raises(BadInput, match="duplicate example_id in fresh rows"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a")])
    (file,) = span_files(log, SPAN)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(
        BadInput, match=r"part-00000\.parquet: unreadable file: expected a complete Parquet file"
    ):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", ["duration_seconds", "label_click"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, column: str, value: float) -> None:
    log = write_log(tmp_path, [fresh("a"), fresh("b", **{column: value})])
    with pytest.raises(BadInput, match=f"NaN or infinity in column {column}"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_null_in_a_fixed_column_is_refused(tmp_path: Path) -> None:
    nullable = pa.schema([pa.field(field.name, field.type) for field in LOG_SCHEMA])
    table = pa.Table.from_pylist([fresh("a"), fresh("b", surface=None)], schema=nullable)
    log = rewrite(write_log(tmp_path, [fresh("a")]), lambda _: table)
    with pytest.raises(
        BadInput, match="row 1: null in column surface: expected a value in every row, got null"
    ):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_row_of_a_later_span_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a"), fresh("b", impression_span=4)])
    with pytest.raises(BadInput, match=r"row 1: .* names a later span: expected 3 \(fresh\).* got 4"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("age", [1, 2])
def test_labels_in_rows_of_another_age_are_refused(tmp_path: Path, age: int) -> None:
    log = write_log(tmp_path, [fresh("a"), matured("b", impression_span=SPAN - age)])
    with pytest.raises(
        BadInput,
        match=rf"label_ltv has labels in rows matured after {age} spans: expected labels of ltv only in "
        rf"rows matured after 3 spans, got 1\.0.*tasks\.ltv\.delay",
    ):
        check_span(log, SPAN, LOG_COLUMNS)


def test_rows_of_tasks_that_nobody_reads_are_counted_and_left_alone(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a"), matured("b"), matured("c")])
    without_ltv = dataclasses.replace(LOG_COLUMNS, delays=dict.fromkeys(IMMEDIATE_TASKS, 0))
    counts = check_span(log, SPAN, without_ltv)
    assert (counts, counts.total) == (SpanCounts(fresh=1, matured=0, unused=2), 3)


def test_each_delay_has_its_own_rows(tmp_path: Path) -> None:
    other = {"impression_span": SPAN - 1, "label_ltv": None, "label_like": 1.0}
    log = write_log(tmp_path, [fresh("a", label_like=None), matured("b"), matured("b") | other])
    columns = dataclasses.replace(LOG_COLUMNS, delays=LOG_COLUMNS.delays | {"like": 1})
    assert check_span(log, SPAN, columns) == SpanCounts(fresh=1, matured=2)


def test_a_fresh_row_with_a_delayed_label_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a"), fresh("b", label_ltv=1.0)])
    with pytest.raises(BadInput, match="column label_ltv has labels in fresh rows"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_matured_row_with_an_immediate_label_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a"), matured("b", label_click=1.0)])
    with pytest.raises(BadInput, match="column label_click has labels in rows matured after 3 spans"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6], ids=["seconds", "microseconds", "nanoseconds"])
def test_times_in_another_unit_are_refused(tmp_path: Path, factor: float) -> None:
    log = write_log(tmp_path, [fresh("a"), fresh("b", event_time_ms=int(TIME_MS * factor))])
    with pytest.raises(BadInput, match=r"column event_time_ms is not in milliseconds: expected milliseconds"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("type_", [pa.timestamp("ns"), pa.timestamp("ms", "UTC")])
def test_a_timestamp_is_not_written_as_milliseconds(tmp_path: Path, type_: pa.DataType) -> None:
    table = pa.Table.from_pylist([fresh("a")], schema=LOG_SCHEMA)
    place = table.column_names.index("event_time_ms")
    stamps = pa.array([TIME_MS], pa.int64()).cast(pa.timestamp("ms")).cast(type_)
    with pytest.raises(ValueError, match=r"event_time_ms must be of type int64.* Convert it to milliseconds"):
        write_span(tmp_path, SPAN, [table.set_column(place, "event_time_ms", stamps)])


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), lambda table: table.append_column("hour", table["hour"]))
    with pytest.raises(BadInput, match=r"part-00000\.parquet: column hour twice"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("column", ["cluster_id", "video_id", "tag"])
def test_text_that_is_not_utf_8_is_refused_with_its_row_and_column(tmp_path: Path, column: str) -> None:
    def with_latin_1(table: pa.Table) -> pa.Table:
        raw = pa.array([b"a", b"caf\xe9"], pa.binary())
        text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
        if column == "tag":
            text = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), text)
        return table.set_column(table.column_names.index(column), column, text)

    log = rewrite(write_log(tmp_path, [fresh("a", video_id="v"), fresh("b")]), with_latin_1)
    with pytest.raises(BadInput, match=rf"row 1: column {column} is not UTF-8: expected UTF-8, got b'caf"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_null_inside_a_list_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a", tag=["x", None])])
    with pytest.raises(BadInput, match="row 0: null inside a list of column tag: expected no null, got null"):
        check_span(log, SPAN, LOG_COLUMNS)


@pytest.mark.parametrize("column", ["surface", "cluster_id", "example_id"])
def test_an_empty_text_in_a_fixed_column_is_refused(tmp_path: Path, column: str) -> None:
    log = write_log(tmp_path, [fresh("a") | {column: ""}])
    with pytest.raises(BadInput, match=f"empty text in column {column}: expected a value in every row"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_span_folder_with_leading_zeros_is_refused_by_name(tmp_path: Path) -> None:
    log = write_log(tmp_path, [fresh("a")])
    (log / f"span={SPAN}").rename(log / f"span=0000{SPAN}")
    with pytest.raises(BadInput, match=r"span=00003: span folder with leading zeros: expected span=3"):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_column_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    log = rewrite(write_log(tmp_path, [fresh("a")]), lambda table: table.append_column("qqqq", pa.array([1])))
    (file,) = span_files(log, SPAN)
    file.write_bytes(file.read_bytes().replace(b"qqqq", b"qqq\xff"))
    with pytest.raises(
        BadInput, match=r"unreadable file: expected a complete Parquet file, got .utf-8. codec"
    ):
        check_span(log, SPAN, LOG_COLUMNS)


def test_a_further_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return table.append_column("extra", pa.array([1])).append_column("extra", pa.array([2]))

    log = rewrite(write_log(tmp_path, [fresh("a")]), change)
    with pytest.raises(BadInput, match="column extra twice: expected every column once, got 2 of them"):
        check_span(log, SPAN, LOG_COLUMNS)
