import numpy as np
import pytest

from components.evaluation import metrics


def auc(labels, scores, weights=None):
    rows = len(labels)
    weighting = np.ones(rows) if weights is None else np.asarray(weights, float)
    return metrics.Ranking(labels, scores, np.arange(rows)).auc(weighting[:, None])[0]


def test_auc_by_hand():
    # Pairs (positive, negative): .8 beats .1 and .6; .4 beats .1 and loses to .6: 3 of 4.
    assert auc([1, 0, 1, 0], [0.8, 0.1, 0.4, 0.6]) == pytest.approx(0.75)


def test_a_tie_counts_one_half_in_auc():
    # .5 against .5 is half a win, .5 against .2 a win, .9 beats both: 3.5 of 4.
    assert auc([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.2]) == pytest.approx(3.5 / 4)


def test_constant_scores_have_auc_one_half():
    assert auc([1, 0, 0, 1, 0], [3.0] * 5) == 0.5


def test_auc_with_weights_equals_auc_of_duplicated_rows():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    scores = generator.integers(1, 9, 300) / 10
    weights = generator.integers(0, 4, 300)
    rows = np.repeat(np.arange(300), weights)
    assert auc(labels, scores, weights) == pytest.approx(auc(labels[rows], scores[rows]))


def test_auc_equals_the_count_of_all_pairs():
    generator = np.random.default_rng(1)
    labels, scores = generator.integers(0, 2, 80), generator.integers(0, 10, 80)
    gap = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    assert auc(labels, scores) == pytest.approx(np.mean((gap > 0) + 0.5 * (gap == 0)))


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_auc_of_one_class_is_nan(labels):
    assert np.isnan(auc(labels, [0.5] * len(labels)))


def test_auc_of_a_class_without_weight_is_nan():
    assert np.isnan(auc([1, 0], [0.6, 0.4], [1, 0]))


def test_log_losses_by_hand_in_nats():
    # -ln .8 and -ln .75: the second row has label 0 at probability .25.
    np.testing.assert_allclose(metrics.log_losses([1, 0], [0.8, 0.25]), [0.2231436, 0.2876821], rtol=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite():
    assert metrics.log_losses([1], [0.0])[0] == pytest.approx(-np.log(1e-7))


def test_squared_errors_by_hand():
    assert metrics.squared_errors([1, 5], [3, 5]).tolist() == [4, 0]


def test_arrays_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"one length, got shapes .*\(3,\).*\(1,\)"):
        metrics.log_losses([1, 0, 1], [0.5])
    with pytest.raises(ValueError, match=r"one length, got shapes .*\(2,\).*\(1,\)"):
        metrics.Ranking([1, 0], [0.5, 0.4], np.array([0]))
