from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.optimizers import Optimizer
from models.updates import Updates, WarmUp


def updates(optimizer: Optimizer) -> tuple[Updates, Any, Any]:
    table, dense = tf.Variable([[1.0], [1.0]]), tf.Variable([1.0, 1.0])
    return Updates(optimizer, [table], [dense]), table, dense


ROW_0 = tf.IndexedSlices(tf.constant([[3.0]]), tf.constant([0]), tf.constant([2, 1]))


def test_adagrad_divides_by_the_root_of_the_sum_of_squared_gradients() -> None:
    applied, table, dense = updates(Optimizer(name="adagrad", learning_rate=0.5))
    applied.apply([ROW_0, tf.constant([3.0, 0.0])])
    # The accumulator starts at 0.1: 1 - 0.5 x 3 / sqrt(0.1 + 9).
    np.testing.assert_allclose(dense, [1 - 1.5 / np.sqrt(9.1), 1.0], rtol=1e-5)
    np.testing.assert_allclose(table, [[1 - 1.5 / np.sqrt(9.1)], [1.0]], rtol=1e-5)


def test_the_first_step_of_adam_equals_the_learning_rate() -> None:
    applied, _, dense = updates(Optimizer(name="adam", learning_rate=0.5))
    applied.apply([ROW_0, tf.constant([3.0, -0.2])])
    np.testing.assert_allclose(dense, [0.5, 1.5], rtol=1e-4)


def test_warm_up_rises_linearly_and_then_is_constant() -> None:
    schedule = WarmUp(0.8, 4)
    rates = [float(schedule(tf.constant(step, tf.int64))) for step in (0, 1, 2, 3, 4, 100)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize("clippy", [False, True])
def test_warm_up_makes_the_first_step_a_fraction_of_a_full_step(clippy: bool) -> None:
    def first_step(warm_up_steps: int) -> np.ndarray:
        optimizer = Optimizer(name="adagrad", learning_rate=0.1, warm_up_steps=warm_up_steps, clippy=clippy)
        applied, table, dense = updates(optimizer)
        applied.apply([ROW_0, tf.constant([3.0, 0.0])])
        return np.array([1 - table.numpy()[0, 0], 1 - dense.numpy()[0]])

    np.testing.assert_allclose(first_step(10), first_step(0) / 10, rtol=1e-4)


def test_clippy_scales_a_whole_dense_update_and_no_embedding() -> None:
    applied, table, dense = updates(Optimizer(name="adagrad", learning_rate=10.0, clippy=True))
    applied.apply([ROW_0, tf.constant([3.0, 1.0])])
    # Unclipped: 10 x 3 / sqrt(9.1) = 9.945 and 10 x 1 / sqrt(1.1) = 9.535. Allowed: 0.5 x |1| + 0.01 = 0.51.
    scale = 0.51 / (30 / np.sqrt(9.1))
    np.testing.assert_allclose(dense, [1 - 0.51, 1 - scale * 10 / np.sqrt(1.1)], rtol=1e-4)
    np.testing.assert_allclose(table[0], [1 - 30 / np.sqrt(9.1)], rtol=1e-4)


def test_clippy_on_small_updates_equals_adagrad() -> None:
    gradients = [ROW_0, tf.constant([0.3, -0.2])]
    plain, plain_table, plain_dense = updates(Optimizer(name="adagrad", learning_rate=0.1))
    clipped, table, dense = updates(Optimizer(name="adagrad", learning_rate=0.1, clippy=True))
    for _ in range(3):
        plain.apply(gradients)
        clipped.apply(gradients)
    np.testing.assert_allclose(dense, plain_dense, rtol=1e-5)
    np.testing.assert_allclose(table, plain_table, rtol=1e-5)


def test_clippy_does_not_freeze_a_variable_with_a_coordinate_at_zero() -> None:
    applied, _, dense = updates(Optimizer(name="adagrad", learning_rate=0.1, clippy=True))
    dense.assign([0.0, 1.0])
    applied.apply([ROW_0, tf.constant([0.1, 0.1])])
    assert abs(float(dense[1]) - 1.0) > 5e-3


@pytest.mark.parametrize("clippy", [False, True])
def test_a_checkpoint_restores_slots_and_step(clippy: bool, tmp_path: Path) -> None:
    optimizer = Optimizer(name="adagrad", learning_rate=0.1, clippy=clippy)
    gradients = [ROW_0, tf.constant([0.3, -0.2])]
    first, first_table, first_dense = updates(optimizer)
    first.apply(gradients)
    tf.train.Checkpoint(updates=first.state, table=first_table, dense=first_dense).write(
        str(tmp_path / "state")
    )
    second, table, dense = updates(optimizer)
    checkpoint = tf.train.Checkpoint(updates=second.state, table=table, dense=dense)
    checkpoint.read(str(tmp_path / "state")).assert_consumed()
    assert int(second.step) == 1
    first.apply(gradients)
    second.apply(gradients)
    np.testing.assert_array_equal(dense, first_dense)
    np.testing.assert_array_equal(table, first_table)
    assert int(second.step) == 2
