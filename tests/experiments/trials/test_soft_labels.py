import numpy as np
import pytest

from experiments.trials.soft_labels import biased, calibrated, permuted, slice_signs, soft_labels, treated
from experiments.trials.trial import SoftLabelSource
from models.tasks import Task

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "watch_time": Task(kind="regression", group="pet", unit="log1p_seconds"),
}
PREDICTIONS = np.array(
    [[0.2, 1], [0.4, 1], [0.5, 2], [0.6, 2], [0.7, 1.5], [0.1, 0.5], [0.3, 1], [np.nan, np.nan]], np.float32
)


def test_rows_before_the_first_span_have_no_label(hand_made):
    labels = soft_labels(hand_made, np.array([0, 4]), np.array([[0.1], [0.9]], np.float32), first_span=3)
    assert labels[4, 0] == np.float32(0.9)
    assert np.isnan(labels[[0, 1, 2, 3, 5, 6, 7]]).all()


def test_permuted_labels_stay_within_surface_and_span(hand_made):
    seen = set()
    for seed in range(20):
        found = permuted(hand_made, PREDICTIONS, seed)
        for group in ([0, 1], [2, 3], [4, 5], [6]):
            assert sorted(found[group, 0]) == sorted(PREDICTIONS[group, 0])
            assert {tuple(row) for row in found[group]} == {tuple(row) for row in PREDICTIONS[group]}
        seen.add(tuple(found[:4, 0]))
    assert len(seen) == 4


def test_calibration_corrects_by_earlier_spans_alone(hand_made):
    found = calibrated(hand_made, PREDICTIONS, TASKS)
    np.testing.assert_array_equal(found[:4], PREDICTIONS[:4])
    # Surface tab_1 in span 0: watch times 2.0 and 0.5 where 1.0 and 1.0 were said.
    np.testing.assert_allclose(found[4:6, 1], PREDICTIONS[4:6, 1] + 0.25)
    # Clicks: 1 of 2, said .3 on average: the odds go up by that much.
    odds = PREDICTIONS[4, 0] / (1 - PREDICTIONS[4, 0]) / (0.3 / 0.7)
    np.testing.assert_allclose(found[4, 0], odds / (1 + odds), rtol=1e-5)


def test_the_dial_adds_to_one_half_of_the_slices_and_takes_from_the_other(hand_made):
    source = SoftLabelSource(teacher="", first_span=0, bias=1.0, sliced_by="hour")
    found = biased(hand_made, PREDICTIONS, TASKS, source, seed=4)
    signs = slice_signs(hand_made, "hour", 4)[:7]
    assert set(signs) == {-1.0, 1.0}
    logit = np.log(found[:7, 0] / (1 - found[:7, 0])) - np.log(PREDICTIONS[:7, 0] / (1 - PREDICTIONS[:7, 0]))
    np.testing.assert_allclose(logit, signs, rtol=1e-4)
    spread = np.nanstd(hand_made.labels[:, 1])
    np.testing.assert_allclose(found[:2, 1] - PREDICTIONS[:2, 1], spread * signs[:2], rtol=1e-5)


@pytest.mark.parametrize("treatment", ["none", "permuted", "calibrated"])
def test_the_source_says_what_is_done(hand_made, treatment):
    source = SoftLabelSource(teacher="", first_span=0, treatment=treatment)
    found = treated(hand_made, PREDICTIONS, TASKS, source, seed=3)
    expected = {
        "none": PREDICTIONS,
        "permuted": permuted(hand_made, PREDICTIONS, 3),
        "calibrated": calibrated(hand_made, PREDICTIONS, TASKS),
    }
    np.testing.assert_array_equal(found, expected[treatment])
