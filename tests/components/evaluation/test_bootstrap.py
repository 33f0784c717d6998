import time

import numpy as np
import pytest

from components.evaluation import bootstrap
from components.evaluation.bootstrap import SpanFigures, SpanRows
from components.evaluation.metrics import Ranking, log_losses, squared_errors


def rows(labels, clusters, predictions):
    return SpanRows(np.asarray(labels), np.asarray(clusters), np.asarray(predictions))


FIRST = rows([1, 0, 0, 1], [0, 0, 1, 2], [0.9, 0.1, 0.5, 0.5])  # AUC 3.5/4
SECOND = rows([1, 0], [1, 2], [0.3, 0.6])  # AUC 0
ONE_CLASS = rows([0, 0, 0], [0, 1, 2], [0.2, 0.3, 0.1])


def test_auc_over_spans_is_the_row_weighted_mean():
    figures = SpanFigures("binary", [FIRST, SECOND], 3).compute_unweighted()
    assert figures["auc"] == pytest.approx((4 * 0.875 + 2 * 0) / 6)


def test_a_span_with_one_class_is_skipped_in_auc_and_pooled_elsewhere():
    figures = SpanFigures("binary", [FIRST, ONE_CLASS], 3).compute_unweighted()
    assert figures["auc"] == pytest.approx(0.875)
    # Predictions sum to 2.0 + 0.6 over two positives.
    assert figures["calibration"] == pytest.approx(2.6 / 2)


def test_log_loss_and_rmse_are_pooled_over_spans():
    labels = np.concatenate([FIRST.labels, SECOND.labels])
    predictions = np.concatenate([FIRST.predictions, SECOND.predictions])
    binary = SpanFigures("binary", [FIRST, SECOND], 3).compute_unweighted()
    regression = SpanFigures("regression", [FIRST, SECOND], 3).compute_unweighted()
    assert binary["log_loss"] == pytest.approx(log_losses(labels, predictions).mean())
    assert regression["rmse"] == pytest.approx(np.sqrt(squared_errors(labels, predictions).mean()))
    assert set(regression) == {"rmse", "calibration"}


def test_a_resample_weights_rows_by_the_count_of_their_cluster():
    counts = np.array([[2.0], [0.0], [1.0]])
    figures = SpanFigures("binary", [FIRST, SECOND], 3).compute_weighted(counts)
    # Of SECOND only the negative row is left in this resample: one class, skipped.
    auc = Ranking(FIRST.labels, FIRST.predictions, FIRST.clusters).auc(counts)[0]
    assert figures["auc"][0] == pytest.approx(auc)
    labels, clusters = np.array([1, 0, 0, 1, 1, 0]), np.array([0, 0, 1, 2, 1, 2])
    predictions = np.concatenate([FIRST.predictions, SECOND.predictions])
    pooled = np.average(log_losses(labels, predictions), weights=counts[clusters, 0])
    assert figures["log_loss"][0] == pytest.approx(pooled)


def test_a_resample_draws_num_clusters_clusters_and_depends_on_the_seed():
    counts = bootstrap.cluster_counts(50, range(3), seed=7)
    assert counts.sum(axis=0).tolist() == [50, 50, 50]
    np.testing.assert_array_equal(bootstrap.cluster_counts(50, [2], seed=7)[:, 0], counts[:, 2])
    assert (counts[:, 0] != counts[:, 1]).any()
    assert (bootstrap.cluster_counts(50, [0], seed=8)[:, 0] != counts[:, 0]).any()


def test_chunks_do_not_change_the_resamples(monkeypatch):
    figures = SpanFigures("binary", [FIRST, SECOND], 3)
    whole = figures.compute_resampled(9, seed=1)
    monkeypatch.setattr(bootstrap, "RESAMPLES_PER_CHUNK", 2)
    chunked = figures.compute_resampled(9, seed=1)
    for metric in whole:
        np.testing.assert_allclose(chunked[metric], whole[metric])


def test_interval_is_the_middle_95_percent_of_the_defined_values():
    values = np.append(np.arange(101.0), np.nan)
    assert bootstrap.interval(values) == pytest.approx((2.5, 97.5))
    assert bootstrap.interval(np.full(3, np.nan)) is None
    assert bootstrap.interval(np.empty(0)) is None


def test_intervals_of_dependent_rows_cover_the_truth():
    # Ten rows of a user share an effect: intervals from resampled rows would be a third as wide.
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        effects = generator.normal(0, 1, 80)
        clusters = np.repeat(np.arange(80), 10)
        labels = np.repeat(effects, 10) + generator.normal(0, 0.2, 800) + 10
        figures = SpanFigures("regression", [SpanRows(labels, clusters, np.full(800, 10.0))], 80)
        low, high = bootstrap.interval(figures.compute_resampled(200, seed=trial)["calibration"])
        covered += low <= 1.0 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_paired_differences_are_narrower_than_unpaired_ones():
    generator = np.random.default_rng(4)
    clusters = generator.integers(0, 300, 3000)
    labels = (generator.random(3000) < 0.3).astype(float)
    scores = 0.4 * labels + generator.random(3000)
    near = scores + generator.normal(0, 0.05, 3000)
    student, control = (SpanFigures("binary", [SpanRows(labels, clusters, s)], 300) for s in (scores, near))
    first = student.compute_resampled(100, seed=1)["auc"]
    paired = first - control.compute_resampled(100, seed=1)["auc"]
    unpaired = first - control.compute_resampled(100, seed=2)["auc"]
    assert paired.std() < 0.5 * unpaired.std()


def test_two_hundred_resamples_of_100_000_rows_take_seconds():
    generator = np.random.default_rng(5)
    labels = (generator.random(100_000) < 0.3).astype(np.float32)
    clusters = generator.integers(0, 20_000, 100_000)
    start = time.process_time()
    SpanFigures("binary", [SpanRows(labels, clusters, generator.random(100_000))], 20_000).compute_resampled(
        200, 1
    )
    assert time.process_time() - start < 5  # 0.5 s alone on one core
