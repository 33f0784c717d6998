import numpy as np
import pytest

from experiments.protocol.criterion import criterion, gains, information_gain
from experiments.protocol.settings import Grid
from experiments.protocol.tuning import Hyperparameters, PointResult, TuningResult, choose_point, grid_points
from models.tasks import Task

CLICK = Task(kind="binary", group="pet")
WATCH = Task(kind="regression", group="pet", unit="seconds")


def test_the_gain_is_0_for_the_base_rate_and_1_for_perfect_predictions():
    labels = np.array([0.0, 1.0, 1.0, 0.0])
    assert information_gain(labels, np.full(4, 0.5), CLICK) == pytest.approx(0)
    assert information_gain(labels, labels, CLICK) == pytest.approx(1, abs=1e-5)
    assert information_gain(labels, np.array([0.5, 0.5, 0.5, np.nan]), CLICK) == -np.inf


def test_the_gain_of_a_regression_is_the_share_of_variance_explained():
    labels = np.array([1.0, 3.0])
    assert information_gain(labels, np.array([1.5, 2.5]), WATCH) == pytest.approx(0.75)


def test_tasks_with_few_positives_or_no_labels_do_not_count():
    labels = np.array([[1, 2.0, np.nan]] * 3 + [[0, 1.0, np.nan]] * 7, np.float32)
    tasks = {"click": CLICK, "watch": WATCH, "ltv": WATCH}
    predictions = np.full((10, 3), 0.5, np.float32)
    assert set(gains(labels, predictions, tasks, min_labels=3)) == {"click", "watch"}
    assert set(gains(labels, predictions, tasks, min_labels=4)) == {"watch"}
    assert criterion({}) == -np.inf


def test_a_task_whose_labels_are_all_equal_does_not_count():
    labels, predictions = np.full((5, 1), 2.0, np.float32), np.full((5, 1), 1.0, np.float32)
    assert gains(labels, predictions, {"watch": WATCH}, min_labels=1) == {}


@pytest.mark.parametrize("distilled", [True, False])
def test_every_arm_gets_equally_many_trials_and_the_best_finalist_wins(distilled):
    measured = []

    def measure(pairs):
        measured.extend(pairs)
        # Only with seed 0 are points with many passes better.
        return [
            {"click": -abs(point.learning_rate - 0.2) + (0.01 if seed == 0 and point.passes == 3 else 0)}
            for point, seed in pairs
        ]

    grid = Grid(finalists=6, seeds=3)
    choice = choose_point(grid, measure, distilled=distilled)
    assert len(measured) == len(set(measured)) == 24 + 6 * 2 + 12 + 6
    assert choice.point.learning_rate == 0.2
    assert sorted(len(result.gains) for result in choice.tried) == [1] * 24 + [2] * 6 + [3] * 6


def test_a_point_can_win_although_the_neighbours_of_a_lucky_point_are_better_with_one_seed():
    grid = Grid(
        learning_rates=(0.1, 0.2), passes=(1,), input_dropouts=(0.0,), soft_weights=(1.0, 2.0, 4.0),
        finalists=3, seeds=3,
    )  # fmt: skip

    def measure(pairs):
        # With seed 0 all four neighbours of 0.1 and 0.2 are better than 0.2, the best with every other seed.
        first = {0.1: 0.5, 0.2: 0.6}
        return [
            {"click": float(rate == 0.2) if seed else first.get(rate, 0.7)}
            for rate, seed in ((point.learning_rate, seed) for point, seed in pairs)
        ]

    assert choose_point(grid, measure, distilled=False).point.learning_rate == 0.2


def test_the_best_points_are_tried_with_the_other_soft_weights():
    grid = Grid(learning_rates=(0.1,), passes=(1,), input_dropouts=(0.0,), finalists=1, seeds=1)
    (point,) = grid_points(grid)
    best = next(weight for weight in grid.soft_weights if weight != point.soft_weight)
    choice = choose_point(
        grid,
        lambda pairs: [{"click": float(point.soft_weight == best)} for point, _ in pairs],
        distilled=True,
    )
    assert choice.point.soft_weight == best
    assert {result.point.soft_weight for result in choice.tried} == set(grid.soft_weights)


def test_an_arm_without_soft_losses_gets_learning_rates_near_the_best_instead():
    grid = Grid(learning_rates=(0.1,), passes=(1,), input_dropouts=(0.0,), finalists=1, seeds=1)
    choice = choose_point(
        grid, lambda pairs: [{"click": point.learning_rate} for point, _ in pairs], distilled=False
    )
    assert sorted(result.point.learning_rate for result in choice.tried) == pytest.approx(
        [0.1 * 2**-0.5, 0.1, 0.1 * 2**0.5]
    )
    assert choice.point.learning_rate == pytest.approx(0.1 * 2**0.5)


def test_soft_weights_add_no_points():
    few, many = grid_points(Grid(soft_weights=(1.0,))), grid_points(Grid(soft_weights=(1.0, 4.0)))
    assert len(few) == len(many) == 24
    assert {point.soft_weight for point in many} == {1.0, 4.0}
    assert len({(point.input_dropout, point.soft_weight) for point in many}) == 4


def test_the_front_holds_the_points_that_none_dominates():
    point = Hyperparameters(0.1, 1, 0.0, 1.0)
    results = tuple(
        PointResult(point, ({"click": click, "like": hyperparameters_of},))
        for click, hyperparameters_of in ((1, 2), (2, 1), (1, 1))
    )
    assert TuningResult(point, results).front == results[:2]
