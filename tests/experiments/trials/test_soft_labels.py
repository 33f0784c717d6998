import numpy as np
import pytest

from experiments.trials.soft_labels import (
    bias_labels,
    calibrate_labels,
    permute_labels,
    slice_signs,
    soft_labels,
)
from experiments.trials.trial import SoftLabelSource
from experiments.trials.trial_result import TrialResult
from models.tasks import Task

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "watch_time": Task(kind="regression", group="pet", unit="log1p_seconds"),
}
PREDICTIONS = np.array(
    [[0.2, 1], [0.4, 1], [0.5, 2], [0.6, 2], [0.7, 1.5], [0.1, 0.5], [0.3, 1], [np.nan, np.nan]], np.float32
)


def test_rows_before_the_first_span_have_no_label(hand_made):
    predictions = np.array([[7.0, 0.1], [8.0, 0.9]], np.float32)
    teacher = TrialResult(np.array([0, 4]), ("watch_time", "click"), predictions, "", 1.0, 1, 1.0)
    source = SoftLabelSource(teacher="", first_span=3)
    labels = soft_labels(hand_made, teacher, {"click": TASKS["click"]}, source, seed=0)
    assert labels[4, 0] == np.float32(0.9)
    assert np.isnan(labels[[0, 1, 2, 3, 5, 6, 7]]).all()


def test_permuted_labels_stay_within_surface_and_span(hand_made):
    permutations = set()
    for seed in range(20):
        labels = permute_labels(hand_made, PREDICTIONS, seed)
        for group in ([0, 1], [2, 3], [4, 5], [6]):
            assert sorted(labels[group, 0]) == sorted(PREDICTIONS[group, 0])
            assert {tuple(row) for row in labels[group]} == {tuple(row) for row in PREDICTIONS[group]}
        permutations.add(tuple(labels[:4, 0]))
    assert len(permutations) == 4


def test_calibration_uses_only_earlier_spans(hand_made):
    labels = calibrate_labels(hand_made, PREDICTIONS, TASKS)
    np.testing.assert_array_equal(labels[:4], PREDICTIONS[:4])
    # Surface tab_1 in span 0: watch times 2.0 and 0.5, predictions 1.0 and 1.0.
    np.testing.assert_allclose(labels[4:6, 1], PREDICTIONS[4:6, 1] + 0.25)
    # Clicks: 1 of 2 with a mean prediction of 0.3, so the odds are divided by 0.3 / 0.7.
    odds = PREDICTIONS[4, 0] / (1 - PREDICTIONS[4, 0]) / (0.3 / 0.7)
    np.testing.assert_allclose(labels[4, 0], odds / (1 + odds), rtol=1e-5)


def test_the_first_labelled_span_is_calibrated_with_the_spans_before(hand_made):
    teacher = TrialResult(np.arange(7), tuple(TASKS), PREDICTIONS[:7], "", 1.0, 1, 1.0)
    source = SoftLabelSource(teacher="", first_span=3, treatment="calibrated")
    labels = soft_labels(hand_made, teacher, TASKS, source, seed=0)
    assert np.isnan(labels[:4]).all()
    np.testing.assert_allclose(labels[4:6, 1], PREDICTIONS[4:6, 1] + 0.25)


def test_the_bias_is_added_to_one_half_of_the_slices_and_subtracted_from_the_other(hand_made):
    source = SoftLabelSource(teacher="", first_span=0, bias=1.0, sliced_by="hour")
    labels = bias_labels(hand_made, PREDICTIONS, TASKS, source, seed=4)
    signs = slice_signs(hand_made, "hour", 4)[:7]
    assert set(signs) == {-1.0, 1.0}
    logit = np.log(labels[:7, 0] / (1 - labels[:7, 0])) - np.log(
        PREDICTIONS[:7, 0] / (1 - PREDICTIONS[:7, 0])
    )
    np.testing.assert_allclose(logit, signs, rtol=1e-4)
    spread = np.nanstd(hand_made.labels[:, 1])
    np.testing.assert_allclose(labels[:2, 1] - PREDICTIONS[:2, 1], spread * signs[:2], rtol=1e-5)


@pytest.mark.parametrize("treatment", ["none", "permuted", "calibrated"])
def test_the_source_names_the_treatment(hand_made, treatment):
    teacher = TrialResult(np.arange(7), tuple(TASKS), PREDICTIONS[:7], "", 1.0, 1, 1.0)
    source = SoftLabelSource(teacher="", first_span=0, treatment=treatment)
    expected = {
        "none": PREDICTIONS,
        "permuted": permute_labels(hand_made, PREDICTIONS, 3),
        "calibrated": calibrate_labels(hand_made, PREDICTIONS, TASKS),
    }
    labels = soft_labels(hand_made, teacher, TASKS, source, seed=3)
    np.testing.assert_array_equal(labels, expected[treatment])
