import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.curves import calibration_curve, roc_curve
from components.evaluation.metrics import Ranking

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
)


def arrays(rows):
    labels, scores = np.array([label for label, _ in rows], float), np.array([s for _, s in rows]) / 7
    return labels, scores


@given(ROWS)
def test_the_area_under_the_whole_curve_is_the_auc(rows):
    labels, scores = arrays(rows)
    _, false_positives, recall = roc_curve(labels, scores, max_points=100)
    expected = Ranking(labels, scores, np.arange(labels.size)).auc(np.ones((labels.size, 1)))[0]

    area = np.sum(np.diff(false_positives) * (recall[1:] + recall[:-1]) / 2)

    np.testing.assert_allclose(area, expected)


@given(ROWS)
def test_a_reduced_curve_has_both_ends_and_is_monotone(rows):
    thresholds, false_positives, recall = roc_curve(*arrays(rows), max_points=3)

    assert thresholds.size <= 3
    assert (false_positives[0], recall[0], false_positives[-1], recall[-1]) == (0, 0, 1, 1)
    assert (np.diff(thresholds) <= 0).all()
    assert (np.diff(recall) >= 0).all()


def test_roc_points_by_hand():
    thresholds, false_positives, recall = roc_curve(
        np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.8, 0.1])
    )

    np.testing.assert_array_equal(thresholds, [1.0, 0.9, 0.8, 0.1])
    np.testing.assert_array_equal(recall, [0.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(false_positives, [0.0, 0.0, 0.5, 1.0])


def test_calibration_bins_have_equal_numbers_of_rows():
    predictions = np.array([0.9, 0.1, 0.2, 0.8])
    predicted, observed = calibration_curve(np.array([1.0, 0.0, 1.0, 1.0]), predictions, max_bins=2)

    np.testing.assert_allclose(predicted, [0.15, 0.85])
    np.testing.assert_allclose(observed, [0.5, 1.0])
    assert calibration_curve(np.array([1.0]), np.array([0.5]))[0].size == 1
