from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import Predictions, ProgressiveFigures
from components.evaluation.predictions import (
    predictions_schema,
    read_predictions_by_span,
    span_file,
    write_predictions,
)
from components.progressive_evaluator import ProgressiveEvaluator, join_matured
from components.transforms.shards import SPLITS, split_folder, write_shard
from models.features import Feature
from models.job import Architecture, Optimizer, TrainingJob
from models.settings import to_json
from models.shard_names import shard_name
from models.state import EMPTY_MARKER, STATE_FOLDER, StateRecord, job_hash, write_state
from models.tasks import Task

SPAN = 7
TASKS = {"click": Task(kind="binary", group="pet")}
DELAYED_TASKS = {
    "returned": Task(kind="binary", group="other", delay=1),
    "ltv": Task(kind="regression", group="other", unit="seconds", delay=3),
}
JOB = TrainingJob(
    role="control",
    surface="tab_1",
    seed=1,
    features={"d": Feature(kind="number")},
    tasks=TASKS,
    distillation={},
    architecture=Architecture(embedding_size=4, trunk=(8,)),
    optimizer=Optimizer(name="adagrad", learning_rate=0.1),
    batch_size=64,
    passes=1,
)


class Constant(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        feature = tf.io.FixedLenFeature([], tf.float32)
        return {"click": tf.io.parse_example(examples, {"d": feature})["d"]}


def model(folder, spans):
    """A Model artifact that has trained on these spans; None: the marker."""
    artifact = Model()
    artifact.uri = str(folder)
    folder.mkdir()
    if spans is None:
        (folder / EMPTY_MARKER).touch()
        return artifact
    module = Constant()
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures={"serving_default": module.serve})
    record = StateRecord(
        feature_version="f",
        step=1,
        spans=spans,
        role="control",
        surface="tab_1",
        job_hash=job_hash(JOB),
        job=JOB,
    )
    write_state(f"{folder}/{STATE_FOLDER}", record, step=tf.Variable(1))
    return artifact


@pytest.fixture
def evaluate(tmp_path):
    """Scores span 7 with three rows; `earlier` spans have predictions without rows."""
    examples = Examples()
    examples.uri = str(tmp_path / "examples")
    for split in SPLITS:
        ids = ["a", "b", "c"] if split == "train" else []
        batch = pa.RecordBatch.from_pydict(
            {
                "example_id": pa.array(ids, pa.string()),
                "cluster_id": pa.array(ids, pa.string()),
                "impression_span": pa.array([SPAN] * len(ids), pa.int64()),
                "label_click": pa.array([1.0, 0.0, 1.0][: len(ids)], pa.float32()),
                "d": pa.array([0.5, 0.25, 0.75][: len(ids)], pa.float32()),
            }
        )
        write_shard(f"{split_folder(examples.uri, split)}/{shard_name(SPAN, 0, 1)}", batch)

    def run(student, control, earlier=(), keep_spans=0, tasks=TASKS):
        artifacts = {name: Predictions() for name in ("earlier", "predictions")}
        artifacts["figures"] = ProgressiveFigures()
        for name, artifact in artifacts.items():
            artifact.uri = str(tmp_path / name)
        for span in earlier:
            empty = predictions_schema(tasks).empty_table()
            write_predictions(empty, tmp_path / "earlier" / span_file(span))
        ProgressiveEvaluator.test_call(
            examples=examples,
            student=model(tmp_path / "student", student),
            control=model(tmp_path / "control", control),
            earlier_predictions=artifacts["earlier"],
            figures=artifacts["figures"],
            predictions=artifacts["predictions"],
            span=SPAN,
            tasks=to_json(tasks),
            resamples=20,
            min_positives=1,
            keep_spans=keep_spans,
            seed=1,
        )
        return read_predictions_by_span(Path(artifacts["predictions"].uri), tasks)

    return run


@pytest.mark.parametrize(
    ("student", "control", "scored"),
    [
        ([4, 5, 6], [4, 5, 6], {"student", "control"}),
        ([4, 5, 6], [4, 5], {"student"}),
        ([4, 6], [4, 5], {"student"}),
        ([4, 5], [4, 5, 6], {"student"}),
        ([4, 5, 6], None, {"student"}),
        (None, [4, 5, 6], {"control"}),
        (None, None, set()),
    ],
)
def test_a_control_is_scored_only_if_it_trained_on_the_students_spans(evaluate, student, control, scored):
    table = evaluate(student, control)[SPAN]

    null_counts = {role: table[f"{role}_click"].null_count for role in ("student", "control")}
    assert null_counts == {role: 0 if role in scored else 3 for role in null_counts}


def test_predictions_are_kept_until_delayed_labels_mature(evaluate):
    assert list(evaluate([6], None, earlier=range(2, 7), tasks=TASKS | DELAYED_TASKS)) == [5, 6, 7]


def test_a_push_gate_that_pools_more_spans_keeps_predictions_longer(evaluate):
    assert list(evaluate([6], None, earlier=range(2, 7), keep_spans=5)) == [3, 4, 5, 6, 7]


def test_matured_rows_of_each_age_meet_the_predictions_of_their_own_span(tmp_path):
    earlier = tmp_path / "earlier"
    for span, ids in ((4, ["m"]), (6, ["r", "m"])):
        schema = predictions_schema(DELAYED_TASKS)
        rows = [
            {"example_id": name, "cluster_id": "u", "impression_span": span, "student_ltv": float(span)}
            for name in ids
        ]
        write_predictions(pa.Table.from_pylist(rows, schema=schema), earlier / span_file(span))
    batch = pa.RecordBatch.from_pydict(
        {
            "example_id": ["m", "r"],
            "impression_span": [4, 6],
            "label_returned": pa.array([None, 1.0], pa.float32()),
            "label_ltv": pa.array([9.0, None], pa.float32()),
        }
    )
    path = str(tmp_path / shard_name(SPAN, 0, 1))
    write_shard(path, batch)

    joined = join_matured(earlier, [path], SPAN, DELAYED_TASKS)

    found = {span: table.select(["example_id", "student_ltv"]).to_pylist() for span, table in joined.items()}
    assert found == {
        4: [{"example_id": "m", "student_ltv": 4.0}],
        6: [{"example_id": "r", "student_ltv": 6.0}],
    }
    assert joined[4]["label_ltv"].to_pylist() == [9.0]
    assert joined[6]["label_returned"].to_pylist() == [1.0]
