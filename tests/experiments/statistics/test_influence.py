import dataclasses

import numpy as np
import pytest

from components.evaluation.bootstrap import SpanFigures, SpanRows, cluster_counts
from experiments.statistics.influence import metric_values
from experiments.statistics.intervals import Resamples, difference, first_arm, holm, recovered_gain


def spans_of(seed, kind="binary", rows=3000, clusters=800, skill=1.0):
    random = np.random.default_rng(seed)
    spans = []
    for _ in range(3):
        cluster_of_row = random.integers(0, clusters, rows)
        signal = np.random.default_rng(1).normal(size=clusters)[cluster_of_row] + random.normal(size=rows)
        logits = skill * signal + random.normal(size=rows)
        labels = (signal + random.normal(size=rows) > 1).astype(float) if kind == "binary" else signal + 3
        predictions = 1 / (1 + np.exp(-logits)) if kind == "binary" else logits + 3
        spans.append(SpanRows(labels, cluster_of_row, predictions))
    return spans


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_values_equal_the_exact_metrics(kind):
    spans = spans_of(1, kind)
    exact = SpanFigures(kind, spans, 800).compute_unweighted()
    for metric, figure in metric_values(kind, spans, 800).items():
        assert figure.value == pytest.approx(exact[metric], abs=1e-12)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_the_influence_is_the_derivative_with_respect_to_the_clusters_weight(kind):
    spans = spans_of(2, kind)
    exact = SpanFigures(kind, spans, 800)
    counts = np.ones((800, 2))
    counts[7, 1] += 1e-6
    moved = exact.compute_weighted(counts)
    for metric, figure in metric_values(kind, spans, 800).items():
        slope = (moved[metric][1] - moved[metric][0]) / 1e-6
        assert figure.influence[7] == pytest.approx(slope, rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_replicates_agree_with_exact_resamples(kind):
    spans = spans_of(3, kind)
    exact = SpanFigures(kind, spans, 800).compute_weighted(cluster_counts(800, range(200), 5))
    resamples = Resamples(800, num_seeds=1, num_resamples=200, seed=5)
    for metric, figure in metric_values(kind, spans, 800).items():
        replicates = resamples.replicates([[figure]])[:, 0]
        assert np.std(replicates) == pytest.approx(np.std(exact[metric]), rel=0.05)
        assert np.corrcoef(replicates, exact[metric])[0, 1] > 0.99


def test_a_difference_is_paired_over_users_and_seeds():
    arms = [[metric_values("regression", spans_of(seed, "regression"), 800)["rmse"] for seed in (4, 5)]] * 2
    resamples = Resamples(800, num_seeds=2, num_resamples=50, seed=0)
    estimate = resamples.estimate(arms, difference, resamples.replicates(arms))
    assert (estimate.value, estimate.users_and_seeds, estimate.seeds_only) == (0.0, (0.0, 0.0), (0.0, 0.0))
    single = resamples.estimate(arms, first_arm, resamples.replicates(arms))
    assert single.users_and_seeds[0] < single.value < single.users_and_seeds[1]


def test_differences_between_seeds_widen_the_interval():
    figure = metric_values("regression", spans_of(6, "regression"), 800)["rmse"]
    shifted = [dataclasses.replace(figure, value=figure.value + shift) for shift in (-0.1, 0.1, 0.0)]
    resamples = Resamples(800, num_seeds=3, num_resamples=400, seed=0)
    same, differing = [
        resamples.estimate([arm], first_arm, resamples.replicates([arm])) for arm in ([figure] * 3, shifted)
    ]
    assert np.ptp(differing.users_and_seeds) > 3 * np.ptp(same.users_and_seeds)


def test_the_recovered_gain_is_the_students_gain_divided_by_the_teachers():
    arms = np.array([[0.72, 0.70, 0.76], [0.70, 0.70, 0.70]])
    np.testing.assert_allclose(recovered_gain(arms), [1 / 3, np.nan])


def test_without_rows_all_metrics_are_undefined():
    for kind in ("binary", "regression"):
        for figure in metric_values(kind, [], 4).values():
            assert np.isnan(figure.value) and not figure.influence.any()
            resamples = Resamples(4, num_seeds=1, num_resamples=9, seed=0)
            estimate = resamples.estimate([[figure]], first_arm, resamples.replicates([[figure]]))
            assert (estimate.users_and_seeds, estimate.seeds_only, estimate.p_value) == (None, None, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_the_interval_has_its_nominal_coverage():
    """About 95 of 100 intervals, each with other users, contain the true value."""
    num_covered = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        cluster_of_row = np.repeat(np.arange(200), 5)
        labels = random.normal(size=200)[cluster_of_row] + random.normal(size=1000)
        figure = metric_values(
            "regression", [SpanRows(labels + 10, cluster_of_row, np.full(1000, 10.0))], 200
        )["rmse"]
        resamples = Resamples(200, num_seeds=1, num_resamples=300, seed=seed)
        low, high = resamples.estimate(
            [[figure]], first_arm, resamples.replicates([[figure]])
        ).users_and_seeds
        num_covered += low <= np.sqrt(2) <= high
    assert 88 <= num_covered <= 99
