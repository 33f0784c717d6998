import numpy as np
import pytest

from experiments.protocol.criterion import criterion, gains, information_gain
from experiments.protocol.settings import Grid
from experiments.protocol.tuning import Point, Tried, choose, points
from models.tasks import Task

CLICK = Task(kind="binary", group="pet")
WATCH = Task(kind="regression", group="pet", unit="seconds")


def test_the_base_rate_knows_nothing_and_the_truth_all():
    labels = np.array([0.0, 1.0, 1.0, 0.0])
    assert information_gain(labels, np.full(4, 0.5), CLICK) == pytest.approx(0)
    assert information_gain(labels, labels, CLICK) == pytest.approx(1, abs=1e-5)
    assert information_gain(labels, np.array([0.5, 0.5, 0.5, np.nan]), CLICK) == -np.inf


def test_a_regressions_gain_is_the_variance_explained():
    labels = np.array([1.0, 3.0])
    assert information_gain(labels, np.array([1.5, 2.5]), WATCH) == pytest.approx(0.75)


def test_rare_and_unknown_tasks_do_not_count():
    labels = np.array([[1, 2.0, np.nan]] * 3 + [[0, 1.0, np.nan]] * 7, np.float32)
    tasks = {"click": CLICK, "watch": WATCH, "ltv": WATCH}
    predictions = np.full((10, 3), 0.5, np.float32)
    assert set(gains(labels, predictions, tasks, min_positives=3)) == {"click", "watch"}
    assert set(gains(labels, predictions, tasks, min_positives=4)) == {"watch"}
    assert criterion({}) == -np.inf


@pytest.mark.parametrize("distilled", [True, False])
def test_every_arm_gets_equally_many_trials_and_the_best_finalist_wins(distilled):
    asked = []

    def measure(pairs):
        asked.extend(pairs)
        # Seed 0 flatters points with many passes; the other seeds do not.
        return [
            {"click": -abs(point.learning_rate - 0.2) + (0.01 if seed == 0 and point.passes == 3 else 0)}
            for point, seed in pairs
        ]

    grid = Grid(finalists=6, seeds=3)
    choice = choose(grid, measure, distilled=distilled)
    assert len(asked) == len(set(asked)) == 24 + 6 * 2 + 12 + 6
    assert choice.point.learning_rate == 0.2
    assert sorted(len(tried.gains) for tried in choice.tried) == [1] * 24 + [2] * 6 + [3] * 6


def test_who_is_second_to_the_neighbours_of_what_one_seed_flatters_can_still_win():
    grid = Grid(
        learning_rates=(0.1, 0.2), passes=(1,), input_dropouts=(0.0,), soft_weights=(1.0, 2.0, 4.0),
        finalists=3, seeds=3,
    )  # fmt: skip

    def measure(pairs):
        # With seed 0 all four beside .1 and .2 are better than .2 itself, which every other seed prefers.
        first = {0.1: 0.5, 0.2: 0.6}
        return [
            {"click": float(rate == 0.2) if seed else first.get(rate, 0.7)}
            for rate, seed in ((point.learning_rate, seed) for point, seed in pairs)
        ]

    assert choose(grid, measure, distilled=False).point.learning_rate == 0.2


def test_the_best_points_meet_the_soft_weights_that_were_not_dealt_to_them():
    grid = Grid(learning_rates=(0.1,), passes=(1,), input_dropouts=(0.0,), finalists=1, seeds=1)
    (dealt,) = points(grid)
    wanted = next(weight for weight in grid.soft_weights if weight != dealt.soft_weight)
    found = choose(
        grid,
        lambda pairs: [{"click": float(point.soft_weight == wanted)} for point, _ in pairs],
        distilled=True,
    )
    assert found.point.soft_weight == wanted
    assert {tried.point.soft_weight for tried in found.tried} == set(grid.soft_weights)


def test_an_arm_without_soft_losses_gets_learning_rates_beside_the_best_instead():
    grid = Grid(learning_rates=(0.1,), passes=(1,), input_dropouts=(0.0,), finalists=1, seeds=1)
    found = choose(
        grid, lambda pairs: [{"click": point.learning_rate} for point, _ in pairs], distilled=False
    )
    assert sorted(tried.point.learning_rate for tried in found.tried) == pytest.approx(
        [0.1 * 2**-0.5, 0.1, 0.1 * 2**0.5]
    )
    assert found.point.learning_rate == pytest.approx(0.1 * 2**0.5)


def test_weights_are_dealt_out_and_add_no_point():
    few, many = points(Grid(soft_weights=(1.0,))), points(Grid(soft_weights=(1.0, 4.0)))
    assert len(few) == len(many) == 24
    assert {point.soft_weight for point in many} == {1.0, 4.0}
    both = {(point.input_dropout, point.soft_weight) for point in many}
    assert len(both) == 4


def test_the_front_holds_what_no_point_beats_on_every_task():
    point = Point(0.1, 1, 0.0, 1.0)
    tried = [Tried(point, ({"click": click, "like": like},)) for click, like in ((1, 2), (2, 1), (1, 1))]
    from experiments.protocol.tuning import Choice

    assert Choice(point, tuple(tried)).front == tuple(tried[:2])
