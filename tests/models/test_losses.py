from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import (
    binary_loss,
    mean_over_labels,
    regression_loss,
    soft_binary_loss,
    zero_inflated_loss,
    ziln_expectation,
)

Loss = Callable[[Any, Any, Any], Any]


def soft_loss_at_two(logits: Any, labels: Any, where: Any) -> Any:
    return soft_binary_loss(logits, labels, where, [2.0] * logits.shape[1])


def zero_inflated_loss_of_logits(logits: Any, labels: Any, where: Any) -> Any:
    """Derives all three parameters from one logit, for the signature of the other losses."""
    return zero_inflated_loss(tf.stack([logits, logits, logits / 8], axis=2), labels, where)


SOFT_LOSSES = [binary_loss, regression_loss, soft_loss_at_two]
LOSSES = [*SOFT_LOSSES, zero_inflated_loss_of_logits]


def column(*values: float) -> Any:
    return tf.constant([[value] for value in values], tf.float32)


ALL = tf.constant([[True], [True]])


def test_binary_loss_is_the_negative_log_probability_of_the_label() -> None:
    # sigmoid(log 3) = 0.75
    loss = binary_loss(column(math.log(3), math.log(3)), column(1, 0), ALL)
    np.testing.assert_allclose(loss, [[-math.log(0.75)], [-math.log(0.25)]], rtol=1e-6)


def test_regression_loss_is_the_squared_difference() -> None:
    np.testing.assert_array_equal(regression_loss(column(1.5, -1), column(1, 2), ALL), [[0.25], [9.0]])


def test_zero_inflated_loss_is_cross_entropy_plus_density_of_a_positive_label() -> None:
    # Above 0 with probability 0.75; mean 2, deviation e.
    parameters = tf.constant([[[math.log(3), 2.0, 1.0]], [[math.log(3), 2.0, 1.0]]])
    density = 0.5 * (3 / math.e) ** 2 + 1 + 0.5 * math.log(2 * math.pi)
    expected = [[-math.log(0.75) + density], [-math.log(0.25)]]
    np.testing.assert_allclose(zero_inflated_loss(parameters, column(5, 0), ALL), expected, rtol=1e-6)
    np.testing.assert_allclose(ziln_expectation(parameters), [[[1.5]], [[1.5]]], rtol=1e-6)


def test_an_exactly_predicted_amount_has_a_finite_loss() -> None:
    parameters = tf.constant([[[50.0, 2.0, -90.0]]])
    loss = zero_inflated_loss(parameters, tf.constant([[2.0]]), tf.constant([[True]]))
    np.testing.assert_allclose(loss, [[math.log(0.1) + 0.5 * math.log(2 * math.pi)]], rtol=1e-6)


def test_soft_loss_at_temperature_one_is_cross_entropy_against_the_probability() -> None:
    # Student 0.75, teacher 0.5: -(0.5 ln 0.75 + 0.5 ln 0.25). Student 0.5, teacher 0: ln 2.
    loss = soft_binary_loss(column(math.log(3), 0), column(0.5, 0.0), ALL, [1.0])
    expected = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25))
    np.testing.assert_allclose(loss, [[expected], [math.log(2)]], rtol=1e-6)


def test_temperature_softens_both_sides_and_its_square_multiplies_the_loss() -> None:
    # T = 2. Teacher 0.9 has logit ln 9, half of it is ln 3: 0.75. Student's ln 9 becomes 0.75 as well.
    loss = soft_binary_loss(column(math.log(9), 0), column(0.9, 0.9), ALL, [2.0])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(loss, [[4 * entropy], [4 * math.log(2)]], rtol=1e-5)


def test_each_task_has_its_own_temperature() -> None:
    logits, labels = tf.constant([[0.3, 0.3]]), tf.constant([[0.8, 0.8]])
    both = soft_binary_loss(logits, labels, tf.constant([[True, True]]), [1.0, 3.0]).numpy()
    for index, temperature in enumerate([1.0, 3.0]):
        alone = soft_binary_loss(logits[:, :1], labels[:, :1], tf.constant([[True]]), [temperature])
        np.testing.assert_array_equal(both[:, index : index + 1], alone)
    assert abs(both[0, 0] - both[0, 1]) > 0.1


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_certain_teacher_gives_a_finite_loss_at_any_temperature(probability: float) -> None:
    loss = soft_binary_loss(column(0.5, 0.5), column(probability, probability), ALL, [2.0])
    assert np.isfinite(loss).all()


@pytest.mark.parametrize("loss", SOFT_LOSSES)
def test_a_soft_label_equal_to_the_prediction_gives_no_gradient(loss: Loss) -> None:
    logits = tf.Variable([[0.7], [0.7]])
    prediction = logits.value() if loss is regression_loss else tf.sigmoid(logits)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(logits, tf.stop_gradient(prediction), ALL))
    np.testing.assert_allclose(tape.gradient(total, logits), [[0.0], [0.0]], atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [math.nan, math.inf, -3.0])
def test_a_masked_label_adds_exactly_nothing_to_value_and_gradient(loss: Loss, label: float) -> None:
    logits = tf.Variable([[0.7], [0.2]])
    with tf.GradientTape() as tape:
        losses = loss(logits, column(label, 0.4), tf.constant([[False], [True]]))
        total = tf.reduce_sum(losses)
    gradient = tape.gradient(total, logits).numpy()
    assert losses.numpy()[0, 0] == 0.0
    assert gradient[0, 0] == 0.0
    assert losses.numpy()[1, 0] > 0.0
    assert gradient[1, 0] != 0.0


@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.floats(-20, 20, width=32), st.floats(0, 1, width=32), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
@pytest.mark.parametrize("loss", LOSSES)
def test_masked_equals_dropped(loss: Loss, rows: list[tuple[float, float, bool]]) -> None:
    logits, labels, where = (np.array(values)[:, None] for values in zip(*rows, strict=True))
    logits, labels = logits.astype(np.float32), labels.astype(np.float32)
    masked = loss(tf.constant(logits), tf.constant(labels), tf.constant(where)).numpy()
    labelled = where[:, 0]
    dropped = loss(
        tf.constant(logits[labelled]), tf.constant(labels[labelled]), tf.constant(where[labelled])
    ).numpy()
    np.testing.assert_allclose(masked[labelled], dropped, rtol=1e-6)
    assert (masked[~labelled] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_of_another_shape_are_refused(loss: Loss) -> None:
    with pytest.raises(
        ValueError, match=r"must have one shape \[batch, tasks\], got \(2, 1\), \(2,\) and \(2, 1\)"
    ):
        loss(column(0, 0), tf.constant([0.0, 1.0]), ALL)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_float32_for_any_input_type(loss: Loss) -> None:
    result = loss(tf.cast(column(0, 1), tf.float16), tf.cast(column(0, 1), tf.float64), ALL)
    assert result.dtype == tf.float32
    assert result.shape == (2, 1)


def test_the_mean_is_over_the_labelled_rows_of_each_task_and_0_without_labels() -> None:
    where = tf.constant([[True, False], [True, False], [False, False]])
    losses = tf.constant([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(mean_over_labels(losses, where), [1.5, 0.0])


REPLICAS = """
import models
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from models.losses import mean_over_labels
values, masks = tf.constant([[1.0], [2.0], [6.0], [9.0]]), tf.constant([[True], [True], [True], [False]])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
def step():
    first = 2 * tf.distribute.get_replica_context().replica_id_in_sync_group
    where = masks[first:first + 2]
    return mean_over_labels(tf.where(where, values[first:first + 2], 0.0), where)
shares = strategy.experimental_local_results(strategy.run(tf.function(step)))
print([float(share[0]) for share in shares])
"""


def test_with_several_replicas_the_mean_is_over_the_labelled_rows_of_all_replicas() -> None:
    # Labelled: 1 and 2 on the first replica, 6 on the second; 3 rows in all.
    run = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False)
    assert run.stdout.strip().splitlines()[-1:] == ["[1.0, 2.0]"], run.stderr
