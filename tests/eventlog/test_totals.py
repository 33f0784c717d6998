"""Sums and smoothed means against hand-computed numbers."""

import numpy as np
import pytest

from eventlog.rows import HISTORY_ENTITIES, IMMEDIATE_TASKS
from eventlog.totals import PRIOR_STRENGTH, EntityTotals, HistoryTotals


def same_labels(values: list[float]) -> dict[str, np.ndarray]:
    return {task: np.array(values) for task in IMMEDIATE_TASKS}


def test_a_mean_is_smoothed_towards_the_prior_by_its_strength() -> None:
    totals = EntityTotals(2)
    totals.add(np.array([0, 0, 0, 1]), same_labels([1, 1, 0, 0]))
    features = totals.features(np.array([0, 1]), np.full(len(IMMEDIATE_TASKS), 0.5))
    np.testing.assert_allclose(features[0], [np.log(4), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(features[1], [(2 + 5) / 13, 5 / 11], rtol=1e-6)
    assert PRIOR_STRENGTH == 10


def test_a_missing_label_counts_as_an_impression_but_not_in_the_mean() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([0, 0]), same_labels([1, np.nan]))
    features = totals.features(np.array([0]), np.zeros(len(IMMEDIATE_TASKS)))
    np.testing.assert_allclose(features[:, 0], [np.log(3)] + [1 / 11] * len(IMMEDIATE_TASKS), rtol=1e-6)


def test_a_row_without_an_entity_adds_nothing() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([-1, 0]), same_labels([1, 0]))
    assert totals.impressions.tolist() == [1]
    assert totals.sums.sum() == 0


def test_a_new_entity_has_the_prior_and_count_zero() -> None:
    for totals in (EntityTotals(0), EntityTotals(3)):
        features = totals.features(np.array([-1]), np.full(len(IMMEDIATE_TASKS), 0.25))
        np.testing.assert_allclose(features[:, 0], [0] + [0.25] * len(IMMEDIATE_TASKS))


def test_all_features_equal_the_features_of_selected_entities() -> None:
    totals = EntityTotals(2)
    totals.add(np.array([0, 1, 1]), same_labels([1, 0, np.nan]))
    priors = np.linspace(0, 1, len(IMMEDIATE_TASKS))
    np.testing.assert_array_equal(
        totals.all_features(3, priors), totals.features(np.array([0, 1, -1]), priors)
    )


def test_growing_keeps_the_totals_and_never_shrinks() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([0]), same_labels([1]))
    totals.grow(3)
    totals.grow(2)
    assert totals.impressions.tolist() == [1, 0, 0]
    assert totals.sums.shape == (len(IMMEDIATE_TASKS), 3)


def test_priors_are_means_over_all_rows_including_rows_without_an_entity() -> None:
    totals = HistoryTotals()
    assert totals.priors().tolist() == [0] * len(IMMEDIATE_TASKS)
    totals.add_span(0, dict.fromkeys(HISTORY_ENTITIES, np.array([-1, 0])), same_labels([1, 0]))
    assert totals.priors().tolist() == [0.5] * len(IMMEDIATE_TASKS)


@pytest.mark.parametrize("span", [0, 2, -1])
def test_a_span_out_of_order_is_refused(span: int) -> None:
    totals = HistoryTotals()
    indices = dict.fromkeys(HISTORY_ENTITIES, np.array([0]))
    totals.add_span(0, indices, same_labels([1]))
    with pytest.raises(ValueError, match=f"span must be 1, one more than the last span added, got {span}"):
        totals.add_span(span, indices, same_labels([1]))
