import types

import numpy as np
import pytest

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.settings import Experiment
from experiments.tables.stability import knew_less, wilson
from experiments.trials.stream import Stream
from experiments.trials.trial_result import Outcome

ROWS_A_SPAN, SPANS = 200, range(1, 4)


@pytest.fixture
def laboratory(deployment):
    """Clicks that half of the rows promise, and an LTV of which nothing is known."""
    rows = ROWS_A_SPAN * len(SPANS)
    promising = np.arange(rows) % 2
    clicks = (np.random.default_rng(0).random(rows) < 0.2 + 0.6 * promising).astype(np.float32)
    stream = Stream(
        key="", tasks=("click", "ltv"), surface_names=("tab_1",), features={},
        labels=np.stack([clicks, np.arange(rows) % 7], axis=1).astype(np.float32),
        spans=np.repeat(np.array(SPANS, np.int32), ROWS_A_SPAN), twins=np.arange(rows),
        clusters=np.arange(rows), surfaces=np.zeros(rows, np.int32), held_out=np.zeros(rows, bool),
    )  # fmt: skip
    experiment = Experiment(deployment="", tuning="2:3", reporting="4:5", min_positives=10)
    schedule = types.SimpleNamespace(stream=stream)
    return Laboratory(experiment, deployment, schedule, 1, per_surface=False, say=print)


def outcome(clicks, ltv=0.0):
    said = np.stack([clicks, np.full(len(clicks), ltv)], axis=1).astype(np.float32)
    return Outcome(np.arange(len(said)), ("click", "ltv"), said, "", 1.0, 1, 1.0)


def knowing():
    return np.where(np.arange(ROWS_A_SPAN * len(SPANS)) % 2, 0.8, 0.2)


def test_a_teacher_that_knows_something_every_span_has_not_diverged(laboratory):
    assert not knew_less(laboratory, outcome(knowing()))


@pytest.mark.parametrize("span", SPANS)
def test_one_bad_span_is_a_divergence_burn_in_included(laboratory, span):
    said = knowing()
    bad = slice((span - 1) * ROWS_A_SPAN, span * ROWS_A_SPAN)
    said[bad] = 1 - said[bad]
    assert knew_less(laboratory, outcome(said))
    # Over the tuning stretch it looks as if nothing had been, if the bad span is of the burn-in.
    assert (laboratory.gains(outcome(said))["click"] > 0) == (span == 1)


def test_a_base_rate_that_is_off_by_chance_is_no_divergence(laboratory):
    said, first = knowing(), slice(0, ROWS_A_SPAN)
    said[first] = laboratory.schedule.stream.labels[first, 0].mean() + 0.02
    assert laboratory.gains(outcome(said), range(1, 2))["click"] < 0
    assert not knew_less(laboratory, outcome(said))
    said[first] += 0.2
    assert knew_less(laboratory, outcome(said))


def test_users_are_drawn_again_not_their_rows(laboratory):
    """What 200 users leave no doubt of, two do: one of them is known."""
    said = knowing()
    wrong = slice(0, ROWS_A_SPAN // 2)
    said[wrong] = 0.01 + 0.98 * (said[wrong] < 0.5)
    assert knew_less(laboratory, outcome(said))
    laboratory.schedule.stream.clusters[:ROWS_A_SPAN] = np.arange(ROWS_A_SPAN) < ROWS_A_SPAN // 2
    assert not knew_less(laboratory, outcome(said))


def test_what_is_no_number_is_a_divergence(laboratory):
    said = knowing()
    said[0] = np.nan
    assert knew_less(laboratory, outcome(said))


def test_delayed_tasks_do_not_count(laboratory):
    assert not knew_less(laboratory, outcome(knowing(), ltv=1e6))


def test_the_interval_of_no_divergence_among_ten_reaches_a_quarter():
    low, high = wilson(0, 10)
    assert low == 0 and high == pytest.approx(0.278, abs=0.001)
