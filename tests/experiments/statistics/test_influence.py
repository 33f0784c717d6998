import numpy as np
import pytest

from components.evaluation.bootstrap import SpanFigures, SpanRows, cluster_counts
from experiments.statistics.influence import figures
from experiments.statistics.intervals import Resamples, difference, first, holm, recovered


def spans_of(seed, kind="binary", rows=3000, clusters=800, skill=1.0):
    random = np.random.default_rng(seed)
    found = []
    for _ in range(3):
        of_row = random.integers(0, clusters, rows)
        signal = np.random.default_rng(1).normal(size=clusters)[of_row] + random.normal(size=rows)
        said = skill * signal + random.normal(size=rows)
        labels = (signal + random.normal(size=rows) > 1).astype(float) if kind == "binary" else signal + 3
        shown = 1 / (1 + np.exp(-said)) if kind == "binary" else said + 3
        found.append(SpanRows(labels, of_row, shown))
    return found


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_values_are_those_of_the_exact_figures(kind):
    spans = spans_of(1, kind)
    exact = SpanFigures(kind, spans, 800).once()
    for metric, figure in figures(kind, spans, 800).items():
        assert figure.value == pytest.approx(exact[metric], abs=1e-12)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_heavier_cluster_moves_a_figure_by_its_influence(kind):
    spans = spans_of(2, kind)
    exact = SpanFigures(kind, spans, 800)
    counts = np.ones((800, 2))
    counts[7, 1] += 1e-6
    moved = exact.under(counts)
    for metric, figure in figures(kind, spans, 800).items():
        slope = (moved[metric][1] - moved[metric][0]) / 1e-6
        assert figure.influence[7] == pytest.approx(slope, rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_the_interval_is_that_of_counting_every_resample_out(kind):
    spans = spans_of(3, kind)
    exact = SpanFigures(kind, spans, 800).under(cluster_counts(800, range(200), 5))
    resamples = Resamples(800, num_seeds=1, draws=200, seed=5)
    for metric, figure in figures(kind, spans, 800).items():
        found = resamples.replicates([[figure]])[:, 0]
        assert np.std(found) == pytest.approx(np.std(exact[metric]), rel=0.05)
        assert np.corrcoef(found, exact[metric])[0, 1] > 0.99


def test_a_difference_is_paired_over_users_and_seeds():
    arms = [[figures("regression", spans_of(seed, "regression"), 800)["rmse"] for seed in (4, 5)]] * 2
    resamples = Resamples(800, num_seeds=2, draws=50, seed=0)
    estimate = resamples.estimate(arms, difference, resamples.replicates(arms))
    assert (estimate.value, estimate.both, estimate.seeds) == (0.0, (0.0, 0.0), (0.0, 0.0))
    own = resamples.estimate(arms, first, resamples.replicates(arms))
    assert own.both[0] < own.value < own.both[1]


def test_seeds_alone_widen_the_interval():
    import dataclasses

    figure = figures("regression", spans_of(6, "regression"), 800)["rmse"]
    moved = [dataclasses.replace(figure, value=figure.value + shift) for shift in (-0.1, 0.1, 0.0)]
    resamples = Resamples(800, num_seeds=3, draws=400, seed=0)
    same, differing = [
        resamples.estimate([arm], first, resamples.replicates([arm])) for arm in ([figure] * 3, moved)
    ]
    assert np.ptp(differing.both) > 3 * np.ptp(same.both)


def test_the_recovered_share_is_the_students_gain_over_the_teachers():
    arms = np.array([[0.72, 0.70, 0.76], [0.70, 0.70, 0.70]])
    np.testing.assert_allclose(recovered(arms), [1 / 3, np.nan])


def test_without_a_row_nothing_is_defined():
    for kind in ("binary", "regression"):
        for figure in figures(kind, [], 4).values():
            assert np.isnan(figure.value) and not figure.influence.any()
            resamples = Resamples(4, num_seeds=1, draws=9, seed=0)
            estimate = resamples.estimate([[figure]], first, resamples.replicates([[figure]]))
            assert (estimate.both, estimate.seeds, estimate.p) == (None, None, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_the_interval_covers_as_often_as_it_says():
    """Users drawn anew each time: about 95 of 100 intervals hold the truth."""
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        of_row = np.repeat(np.arange(200), 5)
        labels = random.normal(size=200)[of_row] + random.normal(size=1000)
        figure = figures("regression", [SpanRows(labels + 10, of_row, np.full(1000, 10.0))], 200)["rmse"]
        resamples = Resamples(200, num_seeds=1, draws=300, seed=seed)
        low, high = resamples.estimate([[figure]], first, resamples.replicates([[figure]])).both
        held += low <= np.sqrt(2) <= high
    assert 88 <= held <= 99
