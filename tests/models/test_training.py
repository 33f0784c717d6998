from __future__ import annotations

import dataclasses
import gzip
import json
import logging
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from eventlog.errors import BadInput
from models import reading, training
from models.architecture import Architecture
from models.distillation import Distillation
from models.learner import Diverged
from models.optimizers import Optimizer
from models.state import EMPTY_MARKER, divergence_reason
from models.training import TrainingRun, run_fn
from tests.models.tiny_world import AUXILIARY, FEATURES, TASKS, fn_args, job, random_columns, write_shard


def variables_of(artifact: Path) -> dict[str, np.ndarray]:
    """Weights, slots and step of a training state, by checkpoint key."""
    checkpoint = tf.train.load_checkpoint(str(artifact / "training-state" / "variables"))
    names = [name for name in checkpoint.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: checkpoint.get_tensor(name) for name in names}


def record_of(artifact: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((artifact / "training-state" / "state.json").read_text())
    return record


def assert_equal_states(artifact: Path, other: Path) -> None:
    first, second = variables_of(artifact), variables_of(other)
    assert first.keys() == second.keys()
    assert len(first) > 10
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> Iterator[None]:
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


SMALL: dict[str, Any] = {
    "features": {name: FEATURES[name] for name in ("user_id", "duration_seconds")},
    "architecture": Architecture(embedding_size=2, trunk=(4,)),
}
STUDENT = job(
    "student",
    features={name: FEATURES[name] for name in ("user_id", "tag", "duration_seconds")},
    distillation=AUXILIARY,
    architecture=Architecture(embedding_size=4, trunk=(8,), tower=(4,), cross_layers=1, dropout=0.1),
    optimizer=Optimizer(name="adagrad", learning_rate=0.1, warm_up_steps=3, clippy=True),
    passes=2,
)


@pytest.fixture(scope="module")
def span_3(graph_dir: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student trained on span 3."""
    artifact = tmp_path_factory.mktemp("student-3")
    run_fn(fn_args(artifact, STUDENT, graph_dir, f"{shards}/span-00003*"))
    return artifact


@pytest.fixture(scope="module")
def span_4(span_3: Path, graph_dir: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student after a warm start on span 4."""
    artifact = tmp_path_factory.mktemp("student-4")
    run_fn(fn_args(artifact, STUDENT, graph_dir, f"{shards}/span-00004*", base=span_3))
    return artifact


def test_a_run_writes_model_state_and_scalars(span_3: Path) -> None:
    record = record_of(span_3)
    # 160 examples in batches of 32, twice.
    assert (record["step"], record["spans"], record["role"], record["surface"]) == (10, [3], "student", None)
    assert (span_3 / "Format-Serving" / "saved_model.pb").exists()
    events = tf.compat.v1.train.summary_iterator(str(next((span_3 / "run").glob("events*"))))
    tags = [value.tag for event in events for value in event.summary.value]
    assert tags.count("loss/total") == 2
    assert {"loss/hard/like", "loss/soft/watch_time", "rows_per_second"} <= set(tags)


def test_the_curves_of_all_spans_are_in_one_folder(graph_dir: Path, shards: Path, tmp_path: Path) -> None:
    base = None
    for span in (3, 4):
        artifact = tmp_path / f"model-{span}"
        arguments = fn_args(artifact, STUDENT, graph_dir, f"{shards}/span-0000{span}*", base=base)
        arguments.custom_config["curves"] = str(tmp_path / "curves")
        run_fn(arguments)
        base = artifact
    points = [
        (event.step, tf.make_ndarray(value.tensor).item())
        for file in sorted((tmp_path / "curves").iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "span"
    ]
    assert points == [(5, 3), (10, 3), (13, 4), (16, 4)]
    assert not (tmp_path / "model-4" / "run").exists()


def test_a_run_logs_the_loss_of_each_pass(
    graph_dir: Path, shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="models.training"):
        run_fn(fn_args(tmp_path, job("teacher", passes=2, **SMALL), graph_dir, f"{shards}/*"))
    lines = [record.getMessage() for record in caplog.records if record.name == "models.training"]
    starts = [line.split(":")[0] for line in lines]
    assert starts == [f"teacher, span {span}, pass {number}" for span in (3, 4) for number in (0, 1)]
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses[-1] < 0.9 * losses[0]
    assert record_of(tmp_path)["spans"] == [3, 4]


def test_progress_has_the_rows_and_from_the_second_pass_on_the_time_left(
    graph_dir: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(training, "_PROGRESS_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger=training.TRAINING_PROGRESS.name):
        TrainingRun(STUDENT, str(graph_dir)).train_span(3, sorted(map(str, shards.glob("span-00003*"))))
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("progress")]
    assert [line.split(" rows")[0] for line in lines] == [
        "pass 1 of 2, 64", "pass 1 of 2, 128", "pass 1 of 2, 160",
        "pass 2 of 2, 64 of 160", "pass 2 of 2, 128 of 160", "pass 2 of 2, 160 of 160",
    ]  # fmt: skip
    assert lines[-1].endswith(" 0 s left")


def test_a_repeated_run_gives_an_identical_model(
    span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    run_fn(fn_args(tmp_path, STUDENT, graph_dir, f"{shards}/span-00003*"))
    assert_equal_states(span_3, tmp_path)


def test_a_warm_start_equals_uninterrupted_training(
    span_4: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    run_fn(fn_args(tmp_path, STUDENT, graph_dir, f"{shards}/*"))
    assert_equal_states(span_4, tmp_path)
    assert record_of(span_4)["spans"] == record_of(tmp_path)["spans"] == [3, 4]
    assert record_of(span_4)["step"] == 10 + 2 * math.ceil(80 / 32)


def test_a_warm_start_with_a_traced_run_equals_one_with_a_new_run(
    span_3: Path, span_4: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    # The cached run trained on span 4, so any variable that a resume does not set makes a difference.
    run_fn(fn_args(tmp_path / "again", STUDENT, graph_dir, f"{shards}/span-00004*", base=span_3))
    assert_equal_states(span_4, tmp_path / "again")
    training._FINISHED_RUNS.clear()
    run_fn(fn_args(tmp_path / "new", STUDENT, graph_dir, f"{shards}/span-00004*", base=span_3))
    assert_equal_states(span_4, tmp_path / "new")
    assert record_of(tmp_path / "again")["spans"] == record_of(tmp_path / "new")["spans"] == [3, 4]


def test_a_state_contains_weights_slots_and_step(span_3: Path) -> None:
    names = variables_of(span_3)
    weights = [name for name in names if name.startswith("ranker/")]
    slots = [name for name in names if re.match(r"updates/optimizers/[01]/_variables/", name)]
    steps = [value for name, value in variables_of(span_3).items() if "_iterations" in name]
    # 2 embeddings; kernel and bias of cross, trunk, 3 towers, 3 logits, 1 soft tower, 2 soft logits.
    assert len(slots) == len(weights) == 2 + 2 * 11
    assert steps == [10, 10]
    # States of existing roots have these keys.
    layers = {name.split("/")[1] for name in weights}
    assert layers == {"_embeddings", "_cross", "_trunk", "_towers", "_logits", "_soft_towers", "_soft_logits"}


def test_the_empty_marker_means_no_base_model(graph_dir: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / EMPTY_MARKER).touch()
    files = f"{shards}/span-00003*"
    run_fn(fn_args(tmp_path / "model", job("control", **SMALL), graph_dir, files, base=tmp_path / "nothing"))
    assert record_of(tmp_path / "model")["step"] == 5


def refused(tmp_path: Path, changed: Any, graph: Path, files: str, *, base: Path, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run_fn(fn_args(tmp_path / "model", changed, graph, files, base=base))
    assert not (tmp_path / "model" / "Format-Serving").exists()
    assert not (tmp_path / "model" / "training-state").exists()


def test_another_feature_version_is_refused(
    span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    graph = shutil.copytree(graph_dir, tmp_path / "graph")
    (graph / "transform_fn" / "assets").mkdir(exist_ok=True)
    (graph / "transform_fn" / "assets" / "more").write_text("x")
    expected = f"another feature_version: expected [0-9a-f]{{12}}, got {record_of(span_3)['feature_version']}"
    refused(tmp_path, STUDENT, graph, f"{shards}/*", base=span_3, message=expected)


WIDE = Architecture(embedding_size=4, trunk=(32,), tower=(4,))
ADAM = Optimizer(name="adam", learning_rate=0.1)
DIFFERENT: list[tuple[str, dict[str, Any]]] = [
    ("another role: expected control, got student", {"role": "control", "distillation": {}}),
    ("another surface: expected feed, got None", {"surface": "feed"}),
    ("another architecture: .*32", {"architecture": WIDE}),
    ("another features: expected .*hour", {"features": {"hour": FEATURES["hour"]}}),
    ("another tasks", {"tasks": {"click": TASKS["click"]}, "distillation": {}}),
    ("another soft heads", {"distillation": {}}),
    ("another optimizer: expected adam", {"optimizer": ADAM}),
]


@pytest.mark.parametrize("case", DIFFERENT, ids=lambda case: case[0])
def test_another_kind_of_model_is_refused(
    case: tuple[str, dict[str, Any]], span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    message, changes = case
    changed = dataclasses.replace(STUDENT, **changes)
    refused(tmp_path, changed, graph_dir, f"{shards}/*", base=span_3, message=message)


def test_an_unreadable_state_is_refused(span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path) -> None:
    base = shutil.copytree(span_3, tmp_path / "base")
    (base / "training-state" / "variables.index").write_bytes(b"torn")
    refused(tmp_path, STUDENT, graph_dir, f"{shards}/*", base=base, message="training state cannot be read")
    (base / "training-state" / "state.json").write_text("{}")
    refused(
        tmp_path, STUDENT, graph_dir, f"{shards}/*", base=base, message="a training state with state.json"
    )


def test_a_diverged_run_exports_nothing(graph_dir: Path, tmp_path: Path) -> None:
    rows = [{**row, "label_watch_time": -5.0} for row in random_columns(10, seed=1)]
    write_shard(tmp_path / "split" / "span-00001-00000-of-00001.gz", rows)
    with pytest.raises(BadInput, match=r"teacher, span 1, pass 0: training diverged: .*got loss nan"):
        run_fn(fn_args(tmp_path / "model", job("teacher", **SMALL), graph_dir, f"{tmp_path}/split/*"))
    assert not (tmp_path / "model" / "Format-Serving").exists()
    assert not (tmp_path / "model" / "training-state").exists()


def test_the_error_names_a_damaged_shard(graph_dir: Path, shards: Path, tmp_path: Path) -> None:
    records = gzip.decompress((shards / "span-00004-00000-of-00001.gz").read_bytes())
    # Ends within the first record. A file that ends between two records would look complete.
    (tmp_path / "span-00004-00000-of-00001.gz").write_bytes(gzip.compress(records[:30]))
    with pytest.raises(BadInput, match=r"span 4, .*span-00004.*: the examples cannot be read"):
        run_fn(fn_args(tmp_path / "model", job("teacher", **SMALL), graph_dir, f"{tmp_path}/*.gz"))


def test_a_new_model_starts_at_the_base_rates_and_a_warm_start_leaves_them(
    graph_dir: Path, tmp_path: Path
) -> None:
    frozen = job("control", **SMALL, optimizer=Optimizer(name="adagrad", learning_rate=1e-12))
    labels = {"label_click": 1.0, "label_watch_time": math.e**2 - 1, "label_like": None}
    run = TrainingRun(frozen, str(graph_dir))
    for span, click in ((1, 0.0), (2, 1.0)):
        rows = [{**row, **labels, "label_click": click} for row in random_columns(6, seed=span)]
        file = tmp_path / f"span-{span:05d}-00000-of-00001.gz"
        write_shard(file, rows)
        run.train_span(span, [str(file)])
        biases = {v.name: v.numpy().item() for v in run.learner.ranker.trainable_variables if v.shape == 1}
        assert biases["logit/click/bias:0"] == pytest.approx(math.log(0.5 / 6.5))
        assert biases["logit/watch_time/bias:0"] == pytest.approx(2.0)
        assert biases["logit/like/bias:0"] == 0.0


def test_without_soft_labels_a_direct_student_becomes_its_control(graph_dir: Path, tmp_path: Path) -> None:
    rows = [{**row, "soft_click": None} for row in random_columns(64, seed=2)]
    write_shard(tmp_path / "split" / "span-00002-00000-of-00001.gz", rows)
    direct = {"click": Distillation(strategy="direct", weight=2.0)}
    for name, training_job in {
        "student": job("student", distillation=direct),
        "control": job("control"),
    }.items():
        run_fn(fn_args(tmp_path / name, training_job, graph_dir, f"{tmp_path}/split/*"))
    assert_equal_states(tmp_path / "student", tmp_path / "control")


def test_examples_without_the_teachers_features_train_a_student(graph_dir: Path, tmp_path: Path) -> None:
    rows = [
        {k: v for k, v in row.items() if not k.startswith("history_")} for row in random_columns(40, seed=2)
    ]
    write_shard(tmp_path / "split" / "span-00002-00000-of-00001.gz", rows)
    run_fn(fn_args(tmp_path / "model", job("control"), graph_dir, f"{tmp_path}/split/*"))
    assert record_of(tmp_path / "model")["spans"] == [2]


NEGATIVE = {"label_watch_time": -5.0}
"""Its log1p is NaN, so the loss is NaN."""


def test_deferred_spans_of_the_base_model_are_trained_on_before_the_new_span(
    span_3: Path, span_4: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(span_3, tmp_path / "base")
    deferred = base / "unlearned" / "Split-train"
    deferred.mkdir(parents=True)
    shutil.copy(shards / "span-00004-00000-of-00001.gz", deferred)
    write_shard(tmp_path / "split" / "span-00005-00000-of-00001.gz", random_columns(40, seed=5))

    run_fn(fn_args(tmp_path / "late", STUDENT, graph_dir, f"{tmp_path}/split/*", base=base))
    run_fn(fn_args(tmp_path / "in-time", STUDENT, graph_dir, f"{tmp_path}/split/*", base=span_4))

    assert record_of(tmp_path / "late")["spans"] == [3, 4, 5]
    assert_equal_states(tmp_path / "late", tmp_path / "in-time")
    assert not (tmp_path / "late" / "unlearned").exists()


def test_a_span_without_examples_is_not_recorded(span_3: Path, graph_dir: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "split" / "span-00004-00000-of-00001.gz", [])
    run_fn(fn_args(tmp_path / "model", STUDENT, graph_dir, f"{tmp_path}/split/*", base=span_3))
    assert record_of(tmp_path / "model")["spans"] == [3]


def test_the_block_size_does_not_change_the_model(
    span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_ROWS", 70)
    run_fn(fn_args(tmp_path, STUDENT, graph_dir, f"{shards}/span-00003*"))
    assert_equal_states(span_3, tmp_path)


def test_training_stops_at_the_block_that_diverges(
    graph_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_ROWS", 64)
    file = tmp_path / "span-00004-00000-of-00001.gz"
    write_shard(file, [{**row, **NEGATIVE} for row in random_columns(160, seed=1)])
    run = TrainingRun(STUDENT, str(graph_dir))
    with pytest.raises(Diverged, match="span 4, pass 0"):
        run.train_span(4, [str(file)])
    assert run.learner.step == 2
    assert run.spans == []


def test_a_diverged_warm_start_exports_its_reason_instead_of_a_model(
    span_3: Path, graph_dir: Path, shards: Path, tmp_path: Path
) -> None:
    rows = [{**row, **NEGATIVE} for row in random_columns(64, seed=1)]
    write_shard(tmp_path / "split" / "span-00004-00000-of-00001.gz", rows)
    run_fn(fn_args(tmp_path / "model", STUDENT, graph_dir, f"{tmp_path}/split/*", base=span_3))

    reason = divergence_reason(str(tmp_path / "model"))
    assert reason is not None
    assert "student, span 4, pass 0: training diverged" in reason
    assert [path.name for path in (tmp_path / "model" / "Format-Serving").iterdir()] == ["DIVERGED"]
    assert not (tmp_path / "model" / "training-state").exists()
    assert divergence_reason(str(span_3)) is None
    # The diverged run is not in the cache: the next run from the same base has finite weights.
    again = fn_args(tmp_path / "again", STUDENT, graph_dir, f"{shards}/span-00004*", base=span_3)
    run_fn(again)
    assert all(np.isfinite(value).all() for value in variables_of(tmp_path / "again").values())
