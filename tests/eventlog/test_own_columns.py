import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.checks import check_span
from eventlog.errors import BadInput
from eventlog.own_columns import own_columns
from eventlog.spans import span_files, write_span

TIME_MS = 1_650_000_000_000
SCHEMA = pa.schema(
    [
        ("price", pa.float64()),
        ("label_bought", pa.bool_()),
        ("label_returned", pa.int8()),
        ("example_id", pa.string()),
        ("event_time_ms", pa.int64()),
        ("impression_span", pa.int32()),
        ("surface", pa.string()),
        ("cluster_id", pa.uint64()),
        ("basket", pa.list_(pa.string())),
    ]
)


def row(example_id, span, bought=None, returned=None):
    return {
        "price": 1.5,
        "label_bought": bought,
        "label_returned": returned,
        "example_id": example_id,
        "event_time_ms": TIME_MS,
        "impression_span": span,
        "surface": "shop",
        "cluster_id": 2**60 + 1,
        "basket": ["x", "y"],
    }


@pytest.fixture
def log(tmp_path):
    """A shop's log: `bought` is known at once, `returned` two spans later."""
    for span in range(3):
        rows = [row("a", span, bought=True), row("b", span, bought=False)]
        if span == 2:
            rows += [row("a", 0, returned=1), row("b", 0, returned=0)]
        write_span(tmp_path, span, [pa.Table.from_pylist(rows, schema=SCHEMA)])
    return tmp_path


def test_types_and_delays_come_from_the_log(log):
    columns = own_columns(log)
    assert columns[2].delays == {"bought": 0, "returned": 2}
    assert columns[2].features == {"price": pa.float32(), "basket": pa.list_(pa.string())}
    assert [check_span(log, span, columns[span]).total for span in range(3)] == [2, 2, 4]


def test_a_column_without_a_value_has_no_type_yet(log):
    colors = {3: pa.nulls(1), 4: pa.array([7])}
    for span, values in colors.items():
        rows = pa.Table.from_pylist([row("c", span, bought=True)], schema=SCHEMA)
        write_span(log, span, [rows])
        (file,) = span_files(log, span)
        pq.write_table(pq.read_table(file, partitioning=None).append_column("color", values), file)
    columns = own_columns(log)
    assert "color" not in columns[3].features
    assert columns[4].features["color"] == pa.int64()
    assert [check_span(log, span, columns[span]).fresh for span in (3, 4)] == [1, 1]


def test_a_column_may_be_added_but_not_dropped(log):
    wide = SCHEMA.append(pa.field("color", pa.string()))
    for span, schema in ((3, wide), (4, SCHEMA)):
        write_span(log, span, [pa.Table.from_pylist([row("c", span, bought=True)], schema=schema)])
    columns = own_columns(log)
    assert [check_span(log, span, columns[span]).fresh for span in range(4)] == [2, 2, 2, 1]
    with pytest.raises(BadInput, match="missing column color: expected color of type string"):
        check_span(log, 4, columns[4])


def test_ids_beyond_the_exact_floats_stay_exact(log):
    (file,) = span_files(log, 0)
    assert pq.read_table(file, partitioning=None)["cluster_id"].to_pylist() == ["1152921504606846977"] * 2


@pytest.mark.parametrize("spans", [pa.nulls(2, pa.int64()), pa.array(["x", "y"]), pa.array([0, None])])
def test_a_span_that_is_no_number_does_not_hide_the_other_spans(log, spans):
    (file,) = span_files(log, 0)
    rows = pq.read_table(file, partitioning=None)
    place = rows.column_names.index("impression_span")
    pq.write_table(rows.set_column(place, "impression_span", spans), file)
    assert own_columns(log)[2].delays == {"bought": 0, "returned": 2}


def test_a_damaged_file_does_not_hide_the_other_spans(log):
    (file,) = span_files(log, 0)
    file.write_bytes(b"torn")
    assert own_columns(log)[2].delays == {"bought": 0, "returned": 2}


def test_a_label_at_two_ages_is_a_fault_of_the_rarer_age(log):
    write_span(log, 3, [pa.Table.from_pylist([row("c", 3, bought=True, returned=1)], schema=SCHEMA)])
    columns = own_columns(log)[3]
    assert columns.delays["returned"] == 2
    with pytest.raises(BadInput, match="label_returned has labels in fresh rows"):
        check_span(log, 3, columns)


def test_a_log_without_a_fixed_column_is_refused(tmp_path):
    folder = tmp_path / "span=0"
    folder.mkdir()
    pq.write_table(pa.table({"example_id": ["a"]}), folder / "part-00000.parquet")
    (folder / "_SUCCESS").touch()
    with pytest.raises(BadInput, match="missing column event_time_ms: expected event_time_ms of type int64"):
        own_columns(tmp_path)


def test_a_type_that_no_feature_has_is_refused(log):
    (file,) = span_files(log, 2)
    rows = pq.read_table(file, partitioning=None)
    dates = pa.array([1] * rows.num_rows, pa.date32())
    pq.write_table(rows.append_column("bought_on", dates), file)
    with pytest.raises(
        BadInput, match=r"column bought_on of type date32.*: expected text, integers, numbers"
    ):
        own_columns(log)
