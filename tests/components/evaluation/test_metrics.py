import numpy as np
import pytest

from components.evaluation import metrics


def test_auc_by_hand():
    # Pairs (positive, negative): .8 beats .1 and .6; .4 beats .1 and loses to .6: 3 of 4.
    assert metrics.auc([1, 0, 1, 0], [0.8, 0.1, 0.4, 0.6]) == pytest.approx(0.75)


def test_a_tie_counts_one_half_in_auc():
    # .5 against .5 is half a win, .5 against .2 a win, .9 beats both: 3.5 of 4.
    assert metrics.auc([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.2]) == pytest.approx(3.5 / 4)


def test_constant_scores_have_auc_one_half():
    assert metrics.auc([1, 0, 0, 1, 0], [3.0] * 5) == 0.5


def test_weights_equal_duplicated_rows():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    scores = generator.integers(1, 9, 300) / 10
    weights = generator.integers(0, 4, 300)
    again = np.repeat(np.arange(300), weights)
    for metric in (metrics.auc, metrics.log_loss, metrics.rmse, metrics.calibration):
        assert metric(labels, scores, weights) == pytest.approx(metric(labels[again], scores[again]))


def test_auc_equals_the_count_of_all_pairs():
    generator = np.random.default_rng(1)
    labels, scores = generator.integers(0, 2, 80), generator.integers(0, 10, 80)
    gap = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    assert metrics.auc(labels, scores) == pytest.approx(np.mean((gap > 0) + 0.5 * (gap == 0)))


def test_log_loss_by_hand_in_nats():
    # -(ln .8 + ln .75) / 2, the second row's label being 0 at probability .25.
    assert metrics.log_loss([1, 0], [0.8, 0.25]) == pytest.approx(0.2554128)


def test_log_loss_of_a_certain_mistake_is_finite():
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-np.log(1e-7))


def test_weighted_rmse_by_hand():
    # (3 * 2^2 + 1 * 0^2) / 4 = 3.
    assert metrics.rmse([1, 5], [3, 5], [3, 1]) == pytest.approx(np.sqrt(3))


def test_calibration_is_mean_prediction_over_mean_label():
    assert metrics.calibration([1, 0, 0, 0], [0.2, 0.1, 0.1, 0.1]) == pytest.approx(0.5)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_auc_of_one_class_is_none(labels):
    assert metrics.auc(labels, [0.5] * len(labels)) is None


def test_auc_of_a_class_without_weight_is_none():
    assert metrics.auc([1, 0], [0.6, 0.4], [1, 0]) is None


def test_without_rows_every_metric_is_none():
    for metric in (metrics.auc, metrics.log_loss, metrics.rmse, metrics.calibration):
        assert metric([], []) is None


def test_calibration_against_no_positive_is_none():
    assert metrics.calibration([0, 0], [0.1, 0.2]) is None


def test_arrays_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"one length, got shapes .*\(3,\).*\(1,\)"):
        metrics.log_losses([1, 0, 1], [0.5])
    with pytest.raises(ValueError, match=r"weights must have the labels' shape \(2,\), got \(1,\)"):
        metrics.auc([1, 0], [0.5, 0.4], [1.0])
