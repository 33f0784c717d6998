from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.distillation import Distillation
from models.objective import Losses, Objective, Targets
from models.ranker import RankerLogits
from models.tasks import Task
from tests.models.tiny_world import job

NAN = math.nan
TASKS = {
    "click": Task(kind="binary", group="pet", weight=2.0),
    "watch_time": Task(kind="regression", group="pet", unit="seconds"),
}


def targets(hard: list[list[float]], soft: list[list[float]]) -> Targets:
    """Targets with NaN as the mask."""
    values = tf.constant(hard, tf.float32)
    soft_values = tf.constant(soft, tf.float32, shape=(len(soft), len(soft[0])))
    return Targets(values, ~tf.math.is_nan(values), soft_values, ~tf.math.is_nan(soft_values))


def losses_of(distillation: dict[str, Distillation], logits: RankerLogits, labels: Targets) -> Losses:
    role = "student" if distillation else "control"
    return Objective(job(role, tasks=TASKS, distillation=distillation))(logits, labels)


def with_soft(hard: Any, soft: Any, ziln_parameters: Any = None) -> RankerLogits:
    """Logits; without zero-inflated tasks if `ziln_parameters` is None."""
    rows = len(hard) if isinstance(hard, list) else hard.shape[0]
    return RankerLogits(
        tf.convert_to_tensor(hard),
        tf.reshape(tf.constant(soft, tf.float32), [rows, -1]),
        tf.zeros([rows, 0, 3]) if ziln_parameters is None else tf.constant(ziln_parameters, tf.float32),
    )


def hard_only(hard: list[list[float]]) -> RankerLogits:
    return with_soft(hard, [[]] * len(hard))


def test_each_task_is_averaged_over_its_own_labelled_rows_and_weighted() -> None:
    logits = hard_only([[0.0, 1.0], [0.0, 3.0], [math.log(3), 9.0]])
    losses = losses_of({}, logits, targets([[1, NAN], [NAN, 1], [1, NAN]], [[], [], []]))
    click = (math.log(2) - math.log(0.75)) / 2
    np.testing.assert_allclose(losses.hard, [click, 4.0], rtol=1e-6)
    np.testing.assert_allclose(losses.total, 2 * click + 4.0, rtol=1e-6)


def test_a_task_without_labels_adds_nothing() -> None:
    losses = losses_of({}, hard_only([[0.0, 5.0]]), targets([[1, NAN]], [[]]))
    np.testing.assert_allclose(losses.hard, [math.log(2), 0.0], rtol=1e-6)
    np.testing.assert_allclose(losses.total, 2 * math.log(2), rtol=1e-6)


def test_the_auxiliary_loss_uses_the_soft_head_and_the_soft_weight_not_the_task_weight() -> None:
    distillation = {"click": Distillation(strategy="auxiliary", weight=0.5)}
    logits = with_soft([[0.0, 0.0]], [[math.log(3)]])
    losses = losses_of(distillation, logits, targets([[NAN, NAN]], [[0.5]]))
    expected = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25))
    np.testing.assert_allclose(losses.soft, [expected], rtol=1e-6)
    np.testing.assert_allclose(losses.total, 0.5 * expected, rtol=1e-6)


def test_direct_and_auxiliary_tasks_use_their_own_logits() -> None:
    distillation = {
        "click": Distillation(strategy="auxiliary"),
        "watch_time": Distillation(strategy="direct", weight=3.0),
    }
    logits = with_soft([[7.0, 2.0]], [[0.0]])
    losses = losses_of(distillation, logits, targets([[NAN, NAN]], [[1.0, 4.0]]))
    np.testing.assert_allclose(losses.soft, [math.log(2), 4.0], rtol=1e-6)
    np.testing.assert_allclose(losses.total, math.log(2) + 3 * 4.0, rtol=1e-6)


def test_the_loss_uses_the_temperature_of_its_task() -> None:
    distillation = {"click": Distillation(strategy="direct", temperature=2.0)}
    losses = losses_of(distillation, hard_only([[0.0, 0.0]]), targets([[NAN, NAN]], [[0.3]]))
    np.testing.assert_allclose(losses.total, 4 * math.log(2), rtol=1e-6)


def gradients(
    distillation: dict[str, Distillation], hard: list[list[float]], soft: list[list[float]]
) -> tuple[Any, Any]:
    variable = tf.Variable([[0.3, 1.0], [-0.7, 2.0]])
    with tf.GradientTape() as tape:
        logits = with_soft(variable, [[], []])
        total = losses_of(distillation, logits, targets(hard, soft)).total
    return total.numpy(), tape.gradient(total, variable).numpy()


def test_direct_distillation_without_soft_labels_equals_the_control_exactly() -> None:
    hard = [[1.0, 2.0], [0.0, NAN]]
    direct = {"click": Distillation(strategy="direct"), "watch_time": Distillation(strategy="direct")}
    student_loss, student_gradient = gradients(direct, hard, [[NAN, NAN], [NAN, NAN]])
    control_loss, control_gradient = gradients({}, hard, [[], []])
    assert student_loss == control_loss
    np.testing.assert_array_equal(student_gradient, control_gradient)


def test_a_row_without_soft_label_has_the_controls_gradient_if_another_row_has_one() -> None:
    hard = [[1.0, 2.0], [0.0, NAN]]
    direct = {"click": Distillation(strategy="direct")}
    _, student = gradients(direct, hard, [[0.9], [NAN]])
    _, control = gradients({}, hard, [[], []])
    np.testing.assert_array_equal(student[1], control[1])
    assert student[0, 0] != control[0, 0]


@pytest.mark.parametrize("column", [0, 1])
def test_each_kind_of_task_uses_its_own_loss(column: int) -> None:
    labels = [[NAN, NAN]]
    labels[0][column] = 0.0
    losses = losses_of({}, hard_only([[2.0, 2.0]]), targets(labels, [[]]))
    expected = [math.log(1 + math.exp(2.0)), 4.0][column]
    np.testing.assert_allclose(losses.hard[column], expected, rtol=1e-6)


def test_a_zero_inflated_task_uses_its_own_loss_and_distils_its_expectation() -> None:
    tasks = {**TASKS, "watch_time": Task(kind="regression", group="pet", unit="seconds", loss="ziln")}
    distillation = {"watch_time": Distillation(strategy="direct")}
    # Above 0 with probability 0.75, mean 2: expectation 1.5. The soft label is 1.
    logits = with_soft([[0.0, 1.5]], [[]], [[[math.log(3), 2.0, 0.0]]])
    losses = Objective(job("student", tasks=tasks, distillation=distillation))(
        logits, targets([[NAN, 3.0]], [[1.0]])
    )
    density = 0.5 + 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(losses.hard, [0.0, -math.log(0.75) + density], rtol=1e-6)
    np.testing.assert_allclose(losses.soft, [0.25], rtol=1e-6)
