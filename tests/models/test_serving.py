from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from models.features import Feature
from models.job import TrainingJob
from models.ranker import Ranker
from models.serving import ServedRanker, export_model
from models.transform_graph import TransformGraph
from tests.models.tiny_world import AUXILIARY, TASKS, example, job, random_columns

Exporting = Callable[[TrainingJob], Path]


@pytest.fixture(scope="module")
def exported(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporting:
    """Exports a job's untrained ranker, once per role."""
    folder = tmp_path_factory.mktemp("served")

    def export(training_job: TrainingJob) -> Path:
        path = folder / training_job.role
        if path.exists():
            return path
        graph = TransformGraph(str(graph_dir), training_job.features)
        export_model(str(path), ServedRanker(Ranker(training_job), graph, training_job))
        return path

    return export


def operations(path: Path) -> list[tuple[str, str]]:
    """Names and types of all saved operations, without Keras's numbers of layers."""
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    nodes = [node for function in functions for node in function.node_def]
    return sorted((re.sub(r"_layer_\d+/", "_layer/", node.name), node.op) for node in nodes)


def parameters(path: Path) -> dict[str, tuple[int, ...]]:
    return {v.name: tuple(v.shape) for v in tf.saved_model.load(str(path)).served_variables}


def test_served_student_and_control_have_equal_operations_parameters_and_signature(
    exported: Exporting,
) -> None:
    student, control = exported(job("student", distillation=AUXILIARY)), exported(job("control"))
    assert operations(student) == operations(control)
    assert len(operations(student)) > 50
    assert parameters(student) == parameters(control)
    signatures = [tf.saved_model.load(str(path)).signatures["serving_default"] for path in (student, control)]
    assert signatures[0].structured_input_signature == signatures[1].structured_input_signature
    assert signatures[0].structured_outputs == signatures[1].structured_outputs


def test_the_served_model_has_no_soft_head(exported: Exporting) -> None:
    path = exported(job("student", distillation=AUXILIARY))
    stored = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert len([name for name in stored if name.startswith("served_variables")]) == len(parameters(path))
    assert b"soft_logit" not in (path / "saved_model.pb").read_bytes()
    assert not any("soft" in name for name in parameters(path))


def test_the_signature_takes_examples_and_returns_every_task_by_name(exported: Exporting) -> None:
    signature: Any = tf.saved_model.load(str(exported(job("control")))).signatures["serving_default"]
    assert signature.structured_input_signature[1] == {
        "examples": tf.TensorSpec([None], tf.string, "examples")
    }
    outputs = {name: (spec.shape.rank, spec.dtype) for name, spec in signature.structured_outputs.items()}
    assert outputs == dict.fromkeys(TASKS, (1, tf.float32))


def test_the_served_model_returns_the_rankers_probabilities_and_values(
    exported: Exporting, graph_dir: Path
) -> None:
    student = job("student", distillation=AUXILIARY)
    served = tf.saved_model.load(str(exported(student))).signatures["serving_default"]
    examples = tf.constant([example(**row) for row in random_columns(5, seed=9)])
    graph = TransformGraph(str(graph_dir), student.features)
    logits = Ranker(student).hard_logits(graph(tf.io.parse_example(examples, graph.raw_spec))).numpy()
    outputs = served(examples=examples)
    np.testing.assert_allclose(outputs["click"], 1 / (1 + np.exp(-logits[:, 0])), rtol=1e-5)
    np.testing.assert_allclose(outputs["watch_time"], logits[:, 1], rtol=1e-5)
    np.testing.assert_allclose(outputs["like"], 1 / (1 + np.exp(-logits[:, 2])), rtol=1e-5)


def test_an_empty_example_is_scored_and_an_empty_batch_gives_no_scores(exported: Exporting) -> None:
    served = tf.saved_model.load(str(exported(job("control")))).signatures["serving_default"]
    assert np.isfinite(served(examples=tf.constant([b""]))["click"]).all()
    assert served(examples=tf.constant([], tf.string))["click"].shape == (0,)


def test_a_served_student_does_not_parse_the_teachers_features(exported: Exporting) -> None:
    student = (exported(job("student", distillation=AUXILIARY)) / "saved_model.pb").read_bytes()
    teacher = (exported(job("teacher")) / "saved_model.pb").read_bytes()
    assert b"history_user_click" not in student
    assert b"history_user_click" in teacher


def test_a_feature_that_only_training_reads_is_served_as_its_constant(
    exported: Exporting, graph_dir: Path, tmp_path: Path
) -> None:
    constants = {"hour": 5, "tag": ("t1", "t2"), "video_age_days": 3.5}
    features = {
        name: dataclasses.replace(feature, served_as=constants.get(name))
        for name, feature in job().features.items()
    }
    teacher = job(features=features)
    graph = TransformGraph(str(graph_dir), features)
    assert set(graph.served_spec) == set(features) - set(constants)
    export_model(str(tmp_path), ServedRanker(Ranker(teacher), graph, teacher))
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    rows = random_columns(6, seed=2)
    fixed = [{**row, **constants, "tag": ["t1", "t2"]} for row in rows]
    without = [{name: value for name, value in row.items() if name not in constants} for row in rows]
    ordinary = tf.saved_model.load(str(exported(job()))).signatures["serving_default"]
    expected = ordinary(examples=tf.constant([example(**row) for row in fixed]))
    unfixed = ordinary(examples=tf.constant([example(**row) for row in rows]))
    for given in (rows, fixed, without):
        outputs = served(examples=tf.constant([example(**row) for row in given]))
        for task in TASKS:
            np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-6)
    assert not np.allclose(unfixed["click"], expected["click"])
    assert served(examples=tf.constant([], tf.string))["click"].shape == (0,)


def test_a_model_without_a_served_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a feature without served_as, got \\['hour'\\]"):
        job(features={"hour": Feature(kind="id", buckets=24, served_as=3)})


def test_a_second_export_differs_only_in_its_variables_and_serves_them(
    graph_dir: Path, tmp_path: Path
) -> None:
    student = job("student", distillation=AUXILIARY)
    ranker = Ranker(student)
    served = ServedRanker(ranker, TransformGraph(str(graph_dir), student.features), student)
    examples = tf.constant([example(**row) for row in random_columns(5, seed=9)])
    outputs = []
    for name in ("first", "second"):
        export_model(str(tmp_path / name), served)
        loaded = tf.saved_model.load(str(tmp_path / name))
        outputs.append(loaded.signatures["serving_default"](examples=examples)["click"])
        np.testing.assert_allclose(outputs[-1], served.serve(examples)["click"], rtol=1e-6)
        for variable in ranker.trainable_variables:
            variable.assign_add(tf.ones_like(variable))
    assert not np.allclose(outputs[0], outputs[1])
    files = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "first", tmp_path / "second")
    ]
    assert files[0] == files[1]
    prints = [
        tf.saved_model.experimental.read_fingerprint(str(tmp_path / name)) for name in ("first", "second")
    ]
    assert prints[0].graph_def_program_hash == prints[1].graph_def_program_hash
    assert prints[0].checkpoint_hash != prints[1].checkpoint_hash
