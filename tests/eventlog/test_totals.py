"""Sums and smoothed means by hand."""

import numpy as np
import pytest

from eventlog.rows import HISTORY_ENTITIES, IMMEDIATE_TASKS
from eventlog.totals import PRIOR_STRENGTH, EntityTotals, HistoryTotals


def same_labels(values: list[float]) -> dict[str, np.ndarray]:
    return {task: np.array(values) for task in IMMEDIATE_TASKS}


def test_an_entity_mean_is_pulled_to_the_prior_by_its_strength() -> None:
    totals = EntityTotals(2)
    totals.add(np.array([0, 0, 0, 1]), same_labels([1, 1, 0, 0]))
    figures = totals.figures(np.array([0, 1]), np.full(len(IMMEDIATE_TASKS), 0.5))
    np.testing.assert_allclose(figures[0], [np.log(4), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(figures[1], [(2 + 5) / 13, 5 / 11], rtol=1e-6)
    assert PRIOR_STRENGTH == 10


def test_a_missing_label_counts_as_an_impression_but_not_in_the_mean() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([0, 0]), same_labels([1, np.nan]))
    figures = totals.figures(np.array([0]), np.zeros(len(IMMEDIATE_TASKS)))
    np.testing.assert_allclose(figures[:, 0], [np.log(3)] + [1 / 11] * len(IMMEDIATE_TASKS), rtol=1e-6)


def test_a_row_without_an_entity_adds_nothing_to_any() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([-1, 0]), same_labels([1, 0]))
    assert totals.impressions.tolist() == [1]
    assert totals.sums.sum() == 0


def test_an_entity_never_seen_has_the_prior_and_count_zero() -> None:
    for totals in (EntityTotals(0), EntityTotals(3)):
        figures = totals.figures(np.array([-1]), np.full(len(IMMEDIATE_TASKS), 0.25))
        np.testing.assert_allclose(figures[:, 0], [0] + [0.25] * len(IMMEDIATE_TASKS))


def test_all_figures_at_once_are_the_figures_picked_out() -> None:
    totals = EntityTotals(2)
    totals.add(np.array([0, 1, 1]), same_labels([1, 0, np.nan]))
    priors = np.linspace(0, 1, len(IMMEDIATE_TASKS))
    np.testing.assert_array_equal(totals.all_figures(3, priors), totals.figures(np.array([0, 1, -1]), priors))


def test_growing_keeps_what_is_there_and_never_shrinks() -> None:
    totals = EntityTotals(1)
    totals.add(np.array([0]), same_labels([1]))
    totals.grow(3)
    totals.grow(2)
    assert totals.impressions.tolist() == [1, 0, 0]
    assert totals.sums.shape == (len(IMMEDIATE_TASKS), 3)


def test_priors_are_the_means_of_all_rows_even_those_without_an_entity() -> None:
    totals = HistoryTotals()
    assert totals.priors().tolist() == [0] * len(IMMEDIATE_TASKS)
    totals.absorb(0, dict.fromkeys(HISTORY_ENTITIES, np.array([-1, 0])), same_labels([1, 0]))
    assert totals.priors().tolist() == [0.5] * len(IMMEDIATE_TASKS)


@pytest.mark.parametrize("span", [0, 2, -1])
def test_a_span_out_of_order_is_refused(span: int) -> None:
    totals = HistoryTotals()
    codes = dict.fromkeys(HISTORY_ENTITIES, np.array([0]))
    totals.absorb(0, codes, same_labels([1]))
    with pytest.raises(ValueError, match=f"span must be 1, the one after the last absorbed, got {span}"):
        totals.absorb(span, codes, same_labels([1]))
