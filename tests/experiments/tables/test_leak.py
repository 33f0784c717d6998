import types

import numpy as np
import pytest

from experiments.tables.leak import LeakMeasurement
from experiments.trials.soft_labels import slice_signs
from experiments.trials.stream import ExampleStream
from experiments.trials.trial_result import TrialResult
from models.tasks import Task

NUM_ROWS, NUM_SEEDS = 4000, 10
ARMS = ("direct", "auxiliary-logit", "auxiliary-tower")
CLICK = ("click",)


@pytest.fixture(scope="module")
def runner():
    """A stream of random clicks, whose slices are the hours."""
    random = np.random.default_rng(0)
    stream = ExampleStream(
        key="", tasks=("click",), surface_names=("tab_1",),
        features={"hour": random.integers(0, 24, NUM_ROWS).astype(np.int32)},
        labels=(random.random((NUM_ROWS, 1)) < 0.4).astype(np.float32),
        spans=np.sort(random.integers(5, 8, NUM_ROWS)).astype(np.int32),
        fresh_row_indices=np.arange(NUM_ROWS), clusters=random.integers(0, 500, NUM_ROWS).astype(np.int32),
        surfaces=np.zeros(NUM_ROWS, np.int32), held_out=np.zeros(NUM_ROWS, bool),
    )  # fmt: skip
    return types.SimpleNamespace(
        scheduler=types.SimpleNamespace(stream=stream),
        protocol=types.SimpleNamespace(
            require_slice_feature=lambda: "hour", reporting_spans=range(6, 8), resamples=400
        ),
        deployment=types.SimpleNamespace(tasks={"click": Task(kind="binary", group="pet")}),
        seeds=NUM_SEEDS,
    )


def results(stream, share, by_hour=0.0):
    """Models that predict 0.4 plus a share of the injected bias, and `by_hour` more in every other hour."""
    outcomes = []
    for seed in range(NUM_SEEDS):
        biased = 1 / (1 + 0.6 / 0.4 * np.exp(-slice_signs(stream, "hour", seed).astype(float)))
        predictions = (1 - share) * 0.4 + share * biased + by_hour * (stream.features["hour"] % 2)
        predictions += np.random.default_rng(seed).normal(scale=0.01, size=NUM_ROWS)
        predictions = predictions.astype(np.float32)[:, None]
        outcomes.append(TrialResult(np.arange(NUM_ROWS), ("click",), predictions, "", 1.0, 1, 1.0))
    return outcomes


@pytest.fixture(scope="module")
def measurement(runner):
    stream = runner.scheduler.stream
    arms = {"teacher": results(stream, 0.0), "control": results(stream, 0.0)}
    arms |= {name: results(stream, 0.0) for name in ARMS}
    arms |= {"direct@bias": results(stream, 0.8), "auxiliary-logit@bias": results(stream, 0.2)}
    arms |= {"wrong-by-hour": results(stream, 0.0, by_hour=0.05)}
    return LeakMeasurement(runner, arms, "teacher")


def test_the_leak_is_the_share_of_the_injected_bias(measurement):
    for name, share in (("direct@bias", 0.8), ("auxiliary-logit@bias", 0.2)):
        row = measurement.leak(name, CLICK)
        assert row.mean == pytest.approx(share, abs=0.02)
        assert row.low > 0


def test_no_arm_leaks_without_injected_bias(measurement):
    for name in ARMS:
        row = measurement.leak(name, CLICK)
        assert row.low <= 0 <= row.high
        assert abs(row.mean) < 0.02


def test_the_leak_less_half_is_negative_below_half_and_positive_above(measurement):
    less = measurement.leak_minus_half_of("auxiliary-logit@bias", "direct@bias", CLICK)
    assert less.mean == pytest.approx(0.2 - 0.4, abs=0.02) and less.high < 0
    assert measurement.leak_minus_half_of("direct@bias", "direct@bias", CLICK).low > 0


def test_an_error_that_depends_on_the_hour_alone_is_no_leak(measurement):
    row = measurement.leak("wrong-by-hour", CLICK)
    assert row.low <= 0 <= row.high
    assert abs(row.mean) < 0.005


def test_two_seeds_of_a_pair_have_opposite_halves_of_the_slices(runner):
    stream = runner.scheduler.stream
    hours = stream.features["hour"]
    signs_by_seed = [slice_signs(stream, "hour", seed) for seed in range(NUM_SEEDS)]
    for signs in signs_by_seed:
        signs_by_hour = [set(signs[hours == hour]) for hour in range(24)]
        assert all(len(signs_of_hour) == 1 for signs_of_hour in signs_by_hour)
        assert sum(next(iter(signs_of_hour)) for signs_of_hour in signs_by_hour) == 0
    for even, odd in zip(signs_by_seed[::2], signs_by_seed[1::2], strict=True):
        np.testing.assert_array_equal(even, -odd)
    assert len({tuple(signs) for signs in signs_by_seed}) == NUM_SEEDS


def test_the_leak_of_several_tasks_is_their_mean(measurement):
    row = measurement.leak("direct@bias", ("click", "click"))
    assert row.task == "all" and row.mean == pytest.approx(measurement.leak("direct@bias", CLICK).mean)
