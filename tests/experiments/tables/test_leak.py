import types

import numpy as np
import pytest

from experiments.tables.leak import ARMS, Measure
from experiments.trials.soft_labels import slice_signs
from experiments.trials.stream import Stream
from experiments.trials.trial_result import Outcome
from models.tasks import Task

ROWS, SEEDS = 4000, 10
CLICK = ("click",)


@pytest.fixture(scope="module")
def laboratory():
    """A stream of clicks by chance, whose slices are the hours."""
    random = np.random.default_rng(0)
    stream = Stream(
        key="", tasks=("click",), surface_names=("tab_1",),
        features={"hour": random.integers(0, 24, ROWS).astype(np.int32)},
        labels=(random.random((ROWS, 1)) < 0.4).astype(np.float32),
        spans=np.sort(random.integers(5, 8, ROWS)).astype(np.int32),
        twins=np.arange(ROWS), clusters=random.integers(0, 500, ROWS).astype(np.int32),
        surfaces=np.zeros(ROWS, np.int32), held_out=np.zeros(ROWS, bool),
    )  # fmt: skip
    return types.SimpleNamespace(
        schedule=types.SimpleNamespace(stream=stream),
        experiment=types.SimpleNamespace(slice_feature="hour", reporting_spans=range(6, 8), resamples=400),
        deployment=types.SimpleNamespace(tasks={"click": Task(kind="binary", group="pet")}),
        seeds=SEEDS,
        teachers={"teacher": None},
    )


def kept(stream, share, by_hour=0.0):
    """Models that say 0.4, so much of the dial's bias, and so much too much in every other hour."""
    outcomes = []
    for seed in range(SEEDS):
        biased = 1 / (1 + 0.6 / 0.4 * np.exp(-slice_signs(stream, "hour", seed).astype(float)))
        said = (1 - share) * 0.4 + share * biased + by_hour * (stream.features["hour"] % 2)
        said += np.random.default_rng(seed).normal(scale=0.01, size=ROWS)
        outcomes.append(
            Outcome(np.arange(ROWS), ("click",), said.astype(np.float32)[:, None], "", 1.0, 1, 1.0)
        )
    return outcomes


@pytest.fixture(scope="module")
def measure(laboratory):
    stream = laboratory.schedule.stream
    arms = {"teacher": kept(stream, 0.0), "control": kept(stream, 0.0)}
    arms |= {name: kept(stream, 0.0) for name in ARMS}
    arms |= {"direct@bias": kept(stream, 0.8), "auxiliary-logit@bias": kept(stream, 0.2)}
    arms |= {"wrong-by-hour": kept(stream, 0.0, by_hour=0.05)}
    return Measure(laboratory, arms)


def test_the_leak_is_the_share_of_the_injected_bias(measure):
    for name, share in (("direct@bias", 0.8), ("auxiliary-logit@bias", 0.2)):
        row = measure.leak(name, CLICK)
        assert row.mean == pytest.approx(share, abs=0.02)
        assert row.low > 0


def test_with_the_dial_at_0_no_arm_shows_a_leak(measure):
    for name in ARMS:
        row = measure.leak(name, CLICK)
        assert row.low <= 0 <= row.high
        assert abs(row.mean) < 0.02


def test_less_than_half_is_below_0_and_more_is_above(measure):
    less = measure.against_half("auxiliary-logit@bias", "direct@bias", CLICK)
    assert less.mean == pytest.approx(0.2 - 0.4, abs=0.02) and less.high < 0
    assert measure.against_half("direct@bias", "direct@bias", CLICK).low > 0


def test_what_a_model_has_wrong_by_the_hour_in_any_case_is_no_leak(measure):
    row = measure.leak("wrong-by-hour", CLICK)
    assert row.low <= 0 <= row.high
    assert abs(row.mean) < 0.005


def test_every_two_seeds_draw_half_of_the_slices_and_turn_them_round(laboratory):
    stream = laboratory.schedule.stream
    hours = stream.features["hour"]
    drawn = [slice_signs(stream, "hour", seed) for seed in range(SEEDS)]
    for signs in drawn:
        of_hour = [set(signs[hours == hour]) for hour in range(24)]
        assert all(len(found) == 1 for found in of_hour)
        assert sum(next(iter(found)) for found in of_hour) == 0
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        np.testing.assert_array_equal(first, -second)
    assert len({tuple(signs) for signs in drawn}) == SEEDS


def test_several_tasks_together_are_their_mean(laboratory, measure):
    both = measure.leak("direct@bias", ("click", "click"))
    assert both.task == "all" and both.mean == pytest.approx(measure.leak("direct@bias", CLICK).mean)
