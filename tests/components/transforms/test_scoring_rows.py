import pyarrow as pa
import pytest
import tensorflow as tf

from components.evaluation.predictions import predictions_schema
from components.transforms import scoring_rows
from components.transforms.shards import split_files, split_folder, write_records, write_shard
from eventlog.errors import BadInput
from models.shard_names import shard_name
from models.tasks import Task

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "ltv": Task(kind="regression", group="pet", unit="seconds", delay=3),
}


class TimesFactor(tf.Module):
    """Predicts a click with probability `d` times a factor."""

    def __init__(self, factor):
        super().__init__()
        self._factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        feature = tf.io.FixedLenFeature([], tf.float32, default_value=0.0)
        return {"click": tf.io.parse_example(examples, {"d": feature})["d"] * self._factor}


def model(folder, factor):
    module = TimesFactor(factor)
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures={"serving_default": module.serve})
    return str(folder)


@pytest.fixture
def files(tmp_path):
    uri = str(tmp_path / "examples")
    for shard, (ids, durations) in enumerate([(["a", "b"], [0.25, 0.5]), (["c"], [1.0])]):
        batch = pa.RecordBatch.from_pydict(
            {
                "example_id": pa.array(ids),
                "cluster_id": pa.array(["u"] * len(ids)),
                "impression_span": pa.array([3] * len(ids)),
                "label_click": pa.array([1.0, None][: len(ids)], pa.float32()),
                "label_ltv": pa.array([7.0] * len(ids), pa.float32()),
                "soft_click": pa.array([0.75] * len(ids), pa.float32()),
                "d": pa.array(durations, pa.float32()),
            }
        )
        write_shard(f"{split_folder(uri, 'train')}/{shard_name(3, shard, 2)}", batch)
    return split_files(uri, "train")


def test_each_role_predicts_every_row(files, tmp_path):
    student, control = model(tmp_path / "student", 0.5), model(tmp_path / "control", 1.0)
    table = scoring_rows.score_span(files, student, control, TASKS)
    assert table.schema.equals(predictions_schema(TASKS))
    assert table["example_id"].to_pylist() == ["a", "b", "c"]
    assert table["impression_span"].to_pylist() == [3, 3, 3]
    assert table["label_click"].to_pylist() == [1.0, None, 1.0]
    assert table["teacher_click"].to_pylist() == [0.75, 0.75, 0.75]
    assert table["student_click"].to_pylist() == [0.125, 0.25, 0.5]
    assert table["control_click"].to_pylist() == [0.25, 0.5, 1.0]
    assert table["student_ltv"].null_count == 3


def test_without_a_model_its_columns_are_null(files, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "NONE").touch()
    table = scoring_rows.score_span(files, str(tmp_path / "none"), None, TASKS)
    assert table["student_click"].null_count == table["control_click"].null_count == 3
    assert table["teacher_click"].null_count == 0


def test_matured_labels_have_only_delayed_tasks(files):
    table = scoring_rows.read_matured_labels(files, TASKS)
    assert table.column_names == ["example_id", "impression_span", "label_ltv", "soft_ltv"]
    assert table["label_ltv"].to_pylist() == [7.0, 7.0, 7.0]
    assert table["soft_ltv"].null_count == 3


def test_labels_and_predictions_for_the_candidate_check_have_one_order(files, tmp_path):
    click = {"click": TASKS["click"]}
    labels = scoring_rows.read_labels(files, click)["click"]
    assert labels[0] == labels[2] == 1.0
    assert labels[1] != labels[1]
    predicted = scoring_rows.predict_rows(files, model(tmp_path / "student", 0.5), click)
    assert predicted["click"].tolist() == [0.125, 0.25, 0.5]


def test_predictions_that_are_not_finite_reach_the_candidate_check(files, tmp_path):
    click = {"click": TASKS["click"]}
    predicted = scoring_rows.predict_rows(files, model(tmp_path / "broken", float("nan")), click)
    assert not (predicted["click"] == predicted["click"]).any()


def test_a_model_that_lacks_a_task_is_refused(files, tmp_path):
    with pytest.raises(
        BadInput, match="student: model lacks a task: expected outputs click, ltv, got no output ltv"
    ):
        scoring_rows.predict_rows(files, model(tmp_path / "student", 0.5), TASKS)


def test_shards_without_rows_have_no_predictions(tmp_path):
    write_records(str(tmp_path / "empty.gz"), [])
    click, files = {"click": TASKS["click"]}, [str(tmp_path / "empty.gz")]
    student = model(tmp_path / "student", 0.5)
    assert scoring_rows.predict_rows(files, student, click)["click"].tolist() == []
    assert scoring_rows.score_span(files, student, None, TASKS).num_rows == 0
