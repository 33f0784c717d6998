import pyarrow as pa
import pytest

from components.evaluation import predictions
from eventlog.errors import BadInput
from models.state import EMPTY_MARKER
from models.tasks import Task

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "ltv": Task(kind="regression", group="pet", unit="seconds", scale="log1p", delay=3),
}


def fresh(**columns):
    fixed = {"example_id": ["a", "b", "c"], "cluster_id": ["u", "u", "v"], "impression_span": [4, 4, 4]}
    return predictions.with_schema(pa.table(fixed | columns), predictions.predictions_schema(TASKS))


def test_schema_has_label_and_three_roles_per_task():
    assert predictions.predictions_schema(TASKS).names[3:7] == [
        "label_click",
        "teacher_click",
        "student_click",
        "control_click",
    ]
    assert predictions.predictions_schema(TASKS).field("control_ltv").type == pa.float32()


def test_a_written_table_is_read_unchanged(tmp_path):
    table = fresh(label_click=[1.0, 0.0, None], student_click=[0.5, 0.25, 0.125])
    predictions.write_predictions(table, tmp_path / "new" / "fresh.parquet")
    assert predictions.read_predictions(tmp_path / "new" / "fresh.parquet", TASKS).equals(table)


def test_a_task_added_later_is_null_in_an_old_table(tmp_path):
    table = fresh(label_click=[1.0, 0.0, None])
    predictions.write_predictions(table, tmp_path / "fresh.parquet")
    more = TASKS | {"like": Task(kind="binary", group="pst")}
    assert predictions.read_predictions(tmp_path / "fresh.parquet", more)["label_like"].null_count == 3


def test_a_file_that_is_no_predictions_table_is_refused(tmp_path):
    path = tmp_path / "fresh.parquet"
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(
        BadInput, match=r"fresh.parquet: unreadable predictions: expected Parquet with example_id"
    ):
        predictions.read_predictions(path, TASKS)
    predictions.write_predictions(pa.table({"example_id": ["a"]}), path)
    with pytest.raises(BadInput, match="got no column cluster_id, impression_span"):
        predictions.read_predictions(path, TASKS)


def test_recent_spans_are_read_in_order(tmp_path):
    for span, score in ((100_000, 0.5), (4, 0.25), (99_999, 0.125)):
        table = fresh(student_click=[score] * 3)
        predictions.write_predictions(table, tmp_path / predictions.span_file(span))
    recent = predictions.read_predictions_by_span(tmp_path, TASKS)
    assert list(recent) == [4, 99_999, 100_000]
    assert [table["student_click"][0].as_py() for table in recent.values()] == [0.25, 0.125, 0.5]


def test_the_empty_marker_has_no_spans(tmp_path):
    (tmp_path / EMPTY_MARKER).touch()
    assert predictions.read_predictions_by_span(tmp_path, TASKS) == {}


def test_delayed_labels_are_joined_with_the_predictions_of_the_fresh_row():
    earlier = fresh(label_click=[1.0, 0.0, 1.0], student_click=[0.5] * 3, student_ltv=[1.0, 2.0, 3.0])
    labels = pa.table({"example_id": ["c", "a"], "label_ltv": pa.array([30.0, 10.0], pa.float32())})
    matured = predictions.join_matured_labels(earlier, labels)
    assert matured.schema.equals(earlier.schema)
    assert matured["example_id"].to_pylist() == ["a", "c"]
    assert matured["label_ltv"].to_pylist() == [10.0, 30.0]
    assert matured["student_ltv"].to_pylist() == [1.0, 3.0]
    assert matured["cluster_id"].to_pylist() == ["u", "v"]
    assert matured["impression_span"].to_pylist() == [4, 4]


def test_immediate_tasks_are_not_scored_again_at_maturity():
    earlier = fresh(label_click=[1.0, 0.0, 1.0], student_click=[0.5] * 3)
    labels = pa.table({"example_id": ["a"], "label_ltv": pa.array([1.0], pa.float32())})
    matured = predictions.join_matured_labels(earlier, labels)
    assert matured["label_click"].to_pylist() == [None]
    assert matured["student_click"].to_pylist() == [None]


def test_matured_rows_supply_missing_delayed_predictions_of_the_teacher():
    earlier = fresh(teacher_ltv=[None, 7.0, None])
    labels = pa.table(
        {
            "example_id": ["a", "b", "c"],
            "label_ltv": pa.array([1.0, 2.0, 3.0], pa.float32()),
            "soft_ltv": pa.array([5.0, 6.0, None], pa.float32()),
        }
    )
    # An earlier prediction has precedence over the label set.
    assert predictions.join_matured_labels(earlier, labels)["teacher_ltv"].to_pylist() == [5.0, 7.0, None]


def test_rows_without_counterpart_are_dropped():
    labels = pa.table({"example_id": ["x", "b", "y"], "label_ltv": pa.array([1.0, 2.0, 3.0], pa.float32())})
    assert predictions.join_matured_labels(fresh(), labels)["example_id"].to_pylist() == ["b"]


def test_no_matured_rows_give_an_empty_table():
    labels = pa.table({"example_id": pa.array([], pa.string()), "label_ltv": pa.array([], pa.float32())})
    assert predictions.join_matured_labels(fresh(), labels).num_rows == 0
    assert predictions.join_matured_labels(fresh().slice(0, 0), labels).num_rows == 0


def test_a_matured_example_that_occurs_twice_is_refused():
    labels = pa.table({"example_id": ["b", "b"], "label_ltv": pa.array([1.0, 2.0], pa.float32())})
    with pytest.raises(BadInput, match="matured rows: duplicate example ids: expected 2 distinct ids, got 1"):
        predictions.join_matured_labels(fresh(), labels)


def test_null_is_masked_and_nan_is_refused():
    table = fresh(student_click=[0.5, None, 0.25], control_click=[0.5, float("nan"), None])
    values = predictions.float_column(table, "student_click")
    assert values[[0, 2]].tolist() == [0.5, 0.25]
    assert values[1] != values[1]
    with pytest.raises(BadInput, match=r"column control_click: not finite: .* got 1 of 3 rows not finite"):
        predictions.float_column(table, "control_click")
