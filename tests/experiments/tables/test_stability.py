import types

import numpy as np
import pytest

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.settings import ExperimentProtocol
from experiments.tables.stability import is_worse_than_base_rate, result_rows, wilson_interval
from experiments.trials.stream import ExampleStream
from experiments.trials.trial_result import TrialResult

ROWS_PER_SPAN, SPANS = 200, range(1, 4)


@pytest.fixture
def runner(deployment):
    """Clicks that are likely on every second row, and an LTV without signal."""
    rows = ROWS_PER_SPAN * len(SPANS)
    likely = np.arange(rows) % 2
    clicks = (np.random.default_rng(0).random(rows) < 0.2 + 0.6 * likely).astype(np.float32)
    stream = ExampleStream(
        key="", tasks=("click", "ltv"), surface_names=("tab_1",), features={},
        labels=np.stack([clicks, np.arange(rows) % 7], axis=1).astype(np.float32),
        spans=np.repeat(np.array(SPANS, np.int32), ROWS_PER_SPAN), fresh_row_indices=np.arange(rows),
        clusters=np.arange(rows), surfaces=np.zeros(rows, np.int32), held_out=np.zeros(rows, bool),
    )  # fmt: skip
    protocol = ExperimentProtocol(deployment="", tuning="2:3", reporting="4:5", min_positives=10)
    scheduler = types.SimpleNamespace(stream=stream)
    return ArmRunner(protocol, deployment, scheduler, 1, per_surface=False, print_line=print)


def result(clicks, ltv=0.0):
    predictions = np.stack([clicks, np.full(len(clicks), ltv)], axis=1).astype(np.float32)
    return TrialResult(np.arange(len(predictions)), ("click", "ltv"), predictions, "", 1.0, 1, 1.0)


def good_predictions():
    return np.where(np.arange(ROWS_PER_SPAN * len(SPANS)) % 2, 0.8, 0.2)


def test_a_teacher_with_a_gain_in_every_span_has_not_diverged(runner):
    assert not is_worse_than_base_rate(runner, result(good_predictions()))


@pytest.mark.parametrize("span", SPANS)
def test_one_bad_span_is_a_divergence_even_in_the_burn_in(runner, span):
    predictions = good_predictions()
    bad = slice((span - 1) * ROWS_PER_SPAN, span * ROWS_PER_SPAN)
    predictions[bad] = 1 - predictions[bad]
    assert is_worse_than_base_rate(runner, result(predictions))
    # The gain over the tuning spans does not show a bad span of the burn-in.
    assert (runner.gains(result(predictions))["click"] > 0) == (span == 1)


def test_a_base_rate_that_is_wrong_by_chance_is_no_divergence(runner):
    predictions, first = good_predictions(), slice(0, ROWS_PER_SPAN)
    predictions[first] = runner.scheduler.stream.labels[first, 0].mean() + 0.02
    assert runner.gains(result(predictions), range(1, 2))["click"] < 0
    assert not is_worse_than_base_rate(runner, result(predictions))
    predictions[first] += 0.2
    assert is_worse_than_base_rate(runner, result(predictions))


def test_the_interval_resamples_users_and_not_rows(runner):
    """Errors of 100 among 200 users are a divergence; errors of one among two users are not."""
    predictions = good_predictions()
    wrong = slice(0, ROWS_PER_SPAN // 2)
    predictions[wrong] = 0.01 + 0.98 * (predictions[wrong] < 0.5)
    assert is_worse_than_base_rate(runner, result(predictions))
    runner.scheduler.stream.clusters[:ROWS_PER_SPAN] = np.arange(ROWS_PER_SPAN) < ROWS_PER_SPAN // 2
    assert not is_worse_than_base_rate(runner, result(predictions))


def test_a_nan_prediction_is_a_divergence(runner):
    predictions = good_predictions()
    predictions[0] = np.nan
    assert is_worse_than_base_rate(runner, result(predictions))


def test_delayed_tasks_do_not_count(runner):
    assert not is_worse_than_base_rate(runner, result(good_predictions(), ltv=1e6))


def test_the_gain_is_the_mean_over_the_runs_that_did_not_diverge():
    rate, gain = result_rows("naive x2", [False, True, False, True], [0.1, -5.0, 0.3, float("nan")])
    assert (rate.metric, rate.seeds, rate.mean) == ("divergence_rate", 4, 0.5)
    assert (gain.metric, gain.seeds, gain.mean) == ("information_gain", 2, pytest.approx(0.2))
    _, no_gain = result_rows("naive x4", [True], [-1.0])
    assert (no_gain.seeds, no_gain.mean) == (0, None)


def test_the_interval_of_0_among_10_runs_ends_at_28_percent():
    low, high = wilson_interval(0, 10)
    assert low == 0 and high == pytest.approx(0.278, abs=0.001)
