from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.architecture import Architecture
from models.distillation import Distillation
from models.features import Feature
from models.ranker import HiddenLayer, Ranker, RankerLogits, scale_gradient
from models.seeds import path_seed
from models.tasks import Task
from tests.models.tiny_world import AUXILIARY, FEATURES, TASKS, TEACHER_ONLY, job

BATCH = {
    "user_id": tf.constant([3, 0], tf.int64),
    "hour": tf.constant([1, 24], tf.int64),
    "tag": tf.constant([[4, 5], [0, 0]], tf.int64),
    "duration_seconds": tf.constant([0.5, -1.0]),
    "video_age_days": tf.constant([1, 4], tf.int64),
    TEACHER_ONLY: tf.constant([0.1, 0.0]),
}


def named(variables: list[Any]) -> dict[str, np.ndarray]:
    return {variable.name: variable.numpy() for variable in variables}


def test_student_and_control_start_from_equal_shared_variables() -> None:
    control = named(Ranker(job("control")).trainable_variables)
    student = named(Ranker(job("student", distillation=AUXILIARY)).trainable_variables)
    shared = set(control) & set(student)
    assert shared == set(control)
    assert set(student) - shared == {
        "soft_logit/click/kernel:0",
        "soft_logit/click/bias:0",
        "soft_logit/watch_time/kernel:0",
        "soft_logit/watch_time/bias:0",
        "soft_tower/watch_time/0/kernel:0",
        "soft_tower/watch_time/0/bias:0",
    }
    for name in shared:
        np.testing.assert_array_equal(control[name], student[name], err_msg=name)


def test_student_and_control_have_equal_predictions_at_step_0() -> None:
    control = Ranker(job("control"))(BATCH).hard
    np.testing.assert_array_equal(control, Ranker(job("student", distillation=AUXILIARY))(BATCH).hard)


def test_initialize_biases_sets_only_the_biases_of_the_given_tasks() -> None:
    ranker = Ranker(job("student", distillation=AUXILIARY))
    before = named(ranker.trainable_variables)
    ranker.initialize_biases({"click": -2.0, "no_such_task": 9.0})
    after = named(ranker.trainable_variables)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"logit/click/bias:0", "soft_logit/click/bias:0"}
    assert {after[name].item() for name in changed} == {-2.0}


def test_calls_change_no_variable() -> None:
    ranker = Ranker(job("student", distillation=AUXILIARY))
    before = named(ranker.trainable_variables)
    ranker.hard_logits(BATCH)
    ranker(BATCH, tf.constant(0, tf.int64))
    after = named(ranker.trainable_variables)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)


def test_two_tasks_and_two_seeds_start_from_different_values() -> None:
    first, other = named(Ranker(job()).variables), named(Ranker(job(seed=8)).variables)
    assert not (first["logit/click/kernel:0"] == first["logit/like/kernel:0"]).any()
    assert not (first["logit/click/kernel:0"] == other["logit/click/kernel:0"]).any()
    assert path_seed(7, "trunk/0") != path_seed(7, "trunk/1")


def test_outputs_have_a_column_per_task_and_per_soft_head() -> None:
    student = Ranker(job("student", distillation=AUXILIARY))(BATCH)
    teacher = Ranker(job("teacher"))(BATCH)
    assert (student.hard.shape, student.soft.shape) == ((2, 3), (2, 2))
    assert (teacher.hard.shape, teacher.soft.shape) == ((2, 3), (2, 0))


def test_hard_logits_equal_those_of_a_call_outside_training() -> None:
    ranker = Ranker(job(architecture=Architecture(embedding_size=4, trunk=(8,), dropout=0.5)))
    np.testing.assert_array_equal(ranker.hard_logits(BATCH), ranker(BATCH).hard)


def test_a_ranker_without_hidden_layers_is_linear_in_its_numbers() -> None:
    ranker = Ranker(
        job(
            features={"duration_seconds": Feature(kind="number")},
            tasks={"click": TASKS["click"]},
            architecture=Architecture(embedding_size=1, trunk=()),
        )
    )
    kernel, bias = ranker.trainable_variables
    kernel.assign([[2.0]])
    bias.assign([0.5])
    np.testing.assert_allclose(ranker(BATCH).hard, [[1.5], [-1.5]])


def test_a_bag_is_the_mean_of_its_embeddings_and_an_empty_bag_is_zero() -> None:
    ranker = Ranker(
        job(
            features={"tag": FEATURES["tag"]},
            tasks={"click": TASKS["click"]},
            architecture=Architecture(embedding_size=1, trunk=()),
        )
    )
    ranker.embedding_variables[0].assign([[100.0], *([float(row)] for row in range(1, 21))])
    ranker.dense_variables[0].assign([[2.0]])
    np.testing.assert_allclose(ranker(BATCH).hard, [[2 * (4 + 5) / 2], [0.0]])


def soft_gradients(distillation: Distillation) -> dict[str, np.ndarray]:
    ranker = Ranker(job("student", distillation={"click": distillation}))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ranker(BATCH).soft)
    variables = ranker.trainable_variables
    pairs = zip(variables, tape.gradient(total, variables), strict=True)
    return {
        variable.name: tf.convert_to_tensor(value).numpy() for variable, value in pairs if value is not None
    }


@pytest.mark.parametrize("head", ["logit", "tower"])
def test_the_gradient_scale_applies_to_the_shared_layers_and_not_to_the_soft_head(head: Any) -> None:
    def scaled(factor: float) -> dict[str, np.ndarray]:
        return soft_gradients(Distillation(strategy="auxiliary", head=head, trunk_gradient_scale=factor))

    full, quarter, none = scaled(1.0), scaled(0.25), scaled(0.0)
    shared = [name for name in full if not name.startswith("soft_")]
    assert "trunk/0/kernel:0" in shared
    assert ("tower/click/0/kernel:0" in shared) == (head == "logit")
    for name, gradient in full.items():
        factors = (0.25, 0.0) if name in shared else (1.0, 1.0)
        np.testing.assert_allclose(quarter[name], factors[0] * gradient, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(none[name], factors[1] * gradient, rtol=1e-6, err_msg=name)
    assert any(np.abs(full[name]).max() > 0 for name in shared)


def test_scale_gradient_does_not_change_any_bit_of_the_value() -> None:
    values = tf.constant([0.1, 1e-30, 12345.678])
    np.testing.assert_array_equal(scale_gradient(values, 0.3), values)


def hidden(**stabilisers: Any) -> HiddenLayer:
    layer = HiddenLayer(3, "trunk/0", Architecture(embedding_size=1, trunk=(3,), **stabilisers), seed=1)
    layer.build((None, 1))
    layer.trainable_variables[0].assign([[1.0, 5.0, -5.0]])
    return layer


def test_activation_clipping_changes_only_large_activations() -> None:
    np.testing.assert_array_equal(hidden(activation_clip=2.0)(tf.ones([1, 1]), None), [[1.0, 2.0, 0.0]])
    np.testing.assert_array_equal(hidden()(tf.ones([1, 1]), None), [[1.0, 5.0, 0.0]])


def test_dropout_depends_on_the_step_and_is_off_outside_training() -> None:
    layer, ones = hidden(dropout=0.5), tf.ones([1000, 1])
    first, second = layer(ones, tf.constant(1, tf.int64)), layer(ones, tf.constant(2, tf.int64))
    np.testing.assert_array_equal(first, layer(ones, tf.constant(1, tf.int64)))
    assert (first.numpy() != second.numpy()).any()
    # Kept units are doubled, so the mean stays: 1000 draws of 0 or 2, standard deviation 0.032.
    assert math.isclose(float(tf.reduce_mean(first[:, 0])), 1.0, abs_tol=0.13)
    np.testing.assert_array_equal(layer(ones, None), tf.repeat([[1.0, 5.0, 0.0]], 1000, 0))


def test_a_zero_inflated_task_serves_its_expectation_and_starts_at_the_mean_label() -> None:
    tasks = {**TASKS, "watch_time": Task(kind="regression", group="pet", unit="seconds", loss="ziln")}
    ranker = Ranker(job("student", tasks=tasks, distillation=AUXILIARY))
    outputs = ranker(BATCH)
    assert (outputs.hard.shape, outputs.soft.shape, outputs.ziln_parameters.shape) == (
        (2, 3),
        (2, 2),
        (2, 1, 3),
    )
    probability, mean = 1 / (1 + np.exp(-outputs.ziln_parameters[:, 0, 0])), outputs.ziln_parameters[:, 0, 1]
    np.testing.assert_allclose(outputs.hard[:, 1], probability * mean, rtol=1e-6)
    np.testing.assert_array_equal(ranker.hard_logits(BATCH), outputs.hard)
    for variable in ranker.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    ranker.initialize_biases({"watch_time": 4.0})
    np.testing.assert_allclose(ranker(BATCH).hard[:, 1], [4.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(ranker(BATCH).soft[:, 1], [4.0, 4.0], rtol=1e-6)


def test_input_dropout_drops_inputs_in_training_and_is_off_outside_training() -> None:
    architecture = Architecture(embedding_size=1, trunk=(), input_dropout=0.5)
    number = {"duration_seconds": Feature(kind="number")}
    ranker = Ranker(job(features=number, tasks={"click": TASKS["click"]}, architecture=architecture))
    kernel, bias = ranker.trainable_variables
    kernel.assign([[1.0]])
    bias.assign([0.0])
    ones = {"duration_seconds": tf.ones([1000])}
    outputs = ranker(ones, tf.constant(3, tf.int64)).hard.numpy()
    assert set(np.unique(outputs)) == {0.0, 2.0}
    assert math.isclose(outputs.mean(), 1.0, abs_tol=0.13)
    np.testing.assert_array_equal(ranker(ones).hard, np.ones([1000, 1]))


def test_soft_heads_do_not_change_the_dropout_of_shared_layers() -> None:
    architecture = Architecture(embedding_size=4, trunk=(16, 8), tower=(4,), dropout=0.3, input_dropout=0.2)
    step = tf.constant(5, tf.int64)
    control: RankerLogits = Ranker(job("control", architecture=architecture))(BATCH, step)
    student = Ranker(job("student", architecture=architecture, distillation=AUXILIARY))(BATCH, step)
    np.testing.assert_array_equal(control.hard, student.hard)


def test_served_variables_of_a_student_are_those_of_its_control() -> None:
    student = Ranker(job("student", distillation=AUXILIARY))
    control = Ranker(job("control"))
    assert [v.name for v in student.served_variables] == [v.name for v in control.trainable_variables]
