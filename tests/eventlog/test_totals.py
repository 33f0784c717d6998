"""Sums and smoothed means against hand-computed numbers."""

import numpy as np
import pytest

from eventlog.history_settings import HistorySettings
from eventlog.totals import EntityTotals, HistoryTotals

TASKS = ("bought", "returned")
SETTINGS = HistorySettings({"customer": "customer_number", "item": "sku"}, TASKS, prior_strength=10.0)


def same_labels(values: list[float]) -> dict[str, np.ndarray]:
    return {task: np.array(values) for task in TASKS}


def test_a_mean_is_smoothed_towards_the_prior_by_its_strength() -> None:
    totals = EntityTotals(SETTINGS, 2)
    totals.add(np.array([0, 0, 0, 1]), same_labels([1, 1, 0, 0]))
    features = totals.features(np.array([0, 1]), np.full(len(TASKS), 0.5))
    np.testing.assert_allclose(features[0], [np.log(4), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(features[1], [(2 + 5) / 13, 5 / 11], rtol=1e-6)


def test_a_missing_label_counts_as_an_impression_but_not_in_the_mean() -> None:
    totals = EntityTotals(SETTINGS, 1)
    totals.add(np.array([0, 0]), same_labels([1, np.nan]))
    features = totals.features(np.array([0]), np.zeros(len(TASKS)))
    np.testing.assert_allclose(features[:, 0], [np.log(3)] + [1 / 11] * len(TASKS), rtol=1e-6)


def test_a_row_without_an_entity_adds_nothing() -> None:
    totals = EntityTotals(SETTINGS, 1)
    totals.add(np.array([-1, 0]), same_labels([1, 0]))
    assert totals.impressions.tolist() == [1]
    assert totals.sums.sum() == 0


def test_a_new_entity_has_the_prior_and_count_zero() -> None:
    for totals in (EntityTotals(SETTINGS, 0), EntityTotals(SETTINGS, 3)):
        features = totals.features(np.array([-1]), np.full(len(TASKS), 0.25))
        np.testing.assert_allclose(features[:, 0], [0] + [0.25] * len(TASKS))


def test_all_features_equal_the_features_of_selected_entities() -> None:
    totals = EntityTotals(SETTINGS, 2)
    totals.add(np.array([0, 1, 1]), same_labels([1, 0, np.nan]))
    priors = np.linspace(0, 1, len(TASKS))
    np.testing.assert_array_equal(
        totals.all_features(3, priors), totals.features(np.array([0, 1, -1]), priors)
    )


def test_growing_keeps_the_totals_and_never_shrinks() -> None:
    totals = EntityTotals(SETTINGS, 1)
    totals.add(np.array([0]), same_labels([1]))
    totals.grow(3)
    totals.grow(2)
    assert totals.impressions.tolist() == [1, 0, 0]
    assert totals.sums.shape == (len(TASKS), 3)


def test_priors_are_means_over_all_rows_including_rows_without_an_entity() -> None:
    totals = HistoryTotals(SETTINGS)
    assert totals.priors().tolist() == [0] * len(TASKS)
    totals.add_span(0, dict.fromkeys(SETTINGS.entities, np.array([-1, 0])), same_labels([1, 0]))
    assert totals.priors().tolist() == [0.5] * len(TASKS)


@pytest.mark.parametrize("span", [0, 2, -1])
def test_a_span_out_of_order_is_refused(span: int) -> None:
    totals = HistoryTotals(SETTINGS)
    indices = dict.fromkeys(SETTINGS.entities, np.array([0]))
    totals.add_span(0, indices, same_labels([1]))
    with pytest.raises(ValueError, match=f"span must be 1, one more than the last span added, got {span}"):
        totals.add_span(span, indices, same_labels([1]))
