import dataclasses

import numpy as np
import pytest

from experiments.trials import trial_runner
from experiments.trials.shared_prefix import MAX_CACHED_PREFIXES, PrefixCache, TrainedPrefix
from experiments.trials.trial import SoftLabelSource, Trial
from experiments.trials.trial_runner import TrialRunner, traced_model
from models.distillation import Distillation


@pytest.fixture
def control(deployment):
    return dataclasses.replace(deployment.control_job("tab_1"), surface=None, batch_size=256)


@pytest.fixture
def student(deployment):
    distillation = {name: Distillation(strategy="auxiliary") for name in ("click", "ltv")}
    job = deployment.student_job("tab_1")
    return dataclasses.replace(job, surface=None, batch_size=256, distillation=distillation)


def run(stream, job, soft=None, prefixes=None, **settings):
    settings = {"first_span": 2, "last_span": 6, "kept_from": 2, **settings}
    prefixes = PrefixCache() if prefixes is None else prefixes
    return TrialRunner(stream, Trial(job=job, **settings), soft, prefixes).run()


def with_labels(stream, labels):
    return dataclasses.replace(stream, labels=labels)


def with_soft_weight(job, weight):
    distillation = {
        name: dataclasses.replace(settings, weight=weight) for name, settings in job.distillation.items()
    }
    return dataclasses.replace(job, distillation=distillation)


def predictions_of_span(stream, result, span):
    return result.predictions[stream.spans[result.rows] == span]


def no_soft_labels(stream):
    return np.full((len(stream.spans), 2), np.nan, np.float32)


def soft_labels_from_span_5(stream):
    soft = np.random.default_rng(0).random((len(stream.spans), 2)).astype(np.float32)
    soft[stream.spans < 5] = np.nan
    return soft


def test_a_span_is_scored_before_the_model_trains_on_it(small_stream, control):
    labels = np.array(small_stream.labels)
    labels[small_stream.rows(5), 0] = 1 - labels[small_stream.rows(5), 0]
    result = run(small_stream, control)
    flipped = run(with_labels(small_stream, labels), control)
    for span in (3, 4, 5):
        np.testing.assert_array_equal(
            predictions_of_span(small_stream, result, span), predictions_of_span(small_stream, flipped, span)
        )
    last, last_flipped = (predictions_of_span(small_stream, trial, 6) for trial in (result, flipped))
    assert (last != last_flipped).any()
    assert np.isnan(predictions_of_span(small_stream, result, 2)).all()


def test_a_feature_that_only_training_reads_has_one_value_when_a_model_scores(small_stream, control):
    hours = np.array(small_stream.features["hour"])
    last = small_stream.rows(6)
    hours[last] = np.roll(hours[last], 100)
    rolled = dataclasses.replace(small_stream, features={**small_stream.features, "hour": hours})
    assert (hours != small_stream.features["hour"]).any()
    constant = {"served_features": {"hour": small_stream.features["hour"][:1]}}
    results = {}
    for name, served in (("constant", constant), ("own", {})):
        results[name] = [
            predictions_of_span(stream, run(dataclasses.replace(stream, **served), control), 6)
            for stream in (small_stream, rolled)
        ]
    np.testing.assert_array_equal(*results["constant"])
    assert (results["own"][0] != results["own"][1]).any()
    assert (results["constant"][0] != results["own"][0]).any()


def test_held_out_clusters_are_scored_but_not_trained_on(small_stream, control):
    labels = np.array(small_stream.labels)
    assert small_stream.held_out.any()
    labels[small_stream.held_out] = 1 - labels[small_stream.held_out]
    result = run(small_stream, control)
    flipped = run(with_labels(small_stream, labels), control)
    np.testing.assert_array_equal(result.predictions, flipped.predictions)
    assert not np.isnan(result.predictions[small_stream.spans[result.rows] > 2]).any()


def test_a_student_without_soft_labels_equals_the_control(small_stream, control, student):
    np.testing.assert_array_equal(
        run(small_stream, student, no_soft_labels(small_stream)).predictions,
        run(small_stream, control).predictions,
    )


def test_a_trial_reuses_the_prefix_of_one_with_other_soft_weights(small_stream, student):
    soft = soft_labels_from_span_5(small_stream)
    settings = {"label_source": SoftLabelSource(teacher="a", first_span=5), "kept_from": 5}
    heavy, prefixes = with_soft_weight(student, 4.0), PrefixCache()
    expected = run(small_stream, heavy, soft, **settings).predictions
    run(small_stream, student, soft, prefixes, **settings)
    ((key, prefix),) = prefixes.items()
    assert prefix.has_trained and prefix.seconds > 0

    # The seconds of the prefix count for every trial; these cannot come from training.
    prefixes[key] = prefix._replace(seconds=1000.0)
    result = run(small_stream, heavy, soft, prefixes, **settings)
    np.testing.assert_array_equal(result.predictions, expected)
    assert result.seconds > 1000 and len(prefixes) == 1


def test_trials_of_other_seeds_or_with_earlier_predictions_share_no_prefix(small_stream, student):
    soft = soft_labels_from_span_5(small_stream)
    labels, prefixes = SoftLabelSource(teacher="a", first_span=5), PrefixCache()
    run(small_stream, student, soft, prefixes, label_source=labels, kept_from=5)
    run(small_stream, dataclasses.replace(student, seed=1), soft, prefixes, label_source=labels, kept_from=5)
    assert len(prefixes) == 2
    result = run(small_stream, student, soft, prefixes, label_source=labels, kept_from=4)
    assert len(prefixes) == 2
    assert not np.isnan(predictions_of_span(small_stream, result, 4)).any()


def test_the_cache_drops_the_oldest_prefix():
    prefixes = PrefixCache()
    for number in range(MAX_CACHED_PREFIXES + 2):
        prefixes[str(number)] = TrainedPrefix([], True, 1.0)
    assert list(prefixes) == [str(number) for number in range(2, MAX_CACHED_PREFIXES + 2)]


@pytest.mark.parametrize("strategy", ["auxiliary", "direct"])
def test_a_soft_loss_of_weight_0_has_no_effect(small_stream, student, strategy):
    labels = np.random.default_rng(0).random((len(small_stream.spans), 2)).astype(np.float32)
    click = {"click": Distillation(strategy=strategy, weight=2.0)}
    click_and_zero = {**click, "ltv": Distillation(strategy=strategy, weight=0.0)}
    alone, with_zero = (
        run(
            small_stream, dataclasses.replace(student, distillation=tasks), labels[:, : len(tasks)]
        ).predictions
        for tasks in (click, click_and_zero)
    )
    np.testing.assert_allclose(with_zero, alone, rtol=1e-4, atol=1e-6)
    assert np.nanmax(np.abs(run(small_stream, student, labels).predictions - alone)) > 1e-3


def test_fresh_rows_have_soft_labels_of_immediate_tasks_and_matured_rows_of_delayed_tasks(
    small_stream, student
):
    unused, click, ltv = (no_soft_labels(small_stream) for _ in range(3))
    # LTV labels of the last span's impressions mature after the log; those of span 2 mature in span 5.
    unused[small_stream.spans == 6, 1] = 1.0
    click[small_stream.spans == 5, 0] = 0.9
    ltv[small_stream.spans == 2, 1] = 9.0
    without = run(small_stream, student, no_soft_labels(small_stream)).predictions
    np.testing.assert_array_equal(run(small_stream, student, unused).predictions, without)
    for labels in (click, ltv):
        assert (run(small_stream, student, labels).predictions != without)[-1500:].any()


def test_each_surface_has_a_separate_model(small_stream, control):
    labels, tab_1 = np.array(small_stream.labels), small_stream.surface_names.index("tab_1")
    other = small_stream.surfaces != tab_1
    labels[other] = 1 - labels[other]
    result = run(small_stream, control, per_surface=True)
    flipped = run(with_labels(small_stream, labels), control, per_surface=True)
    on_tab_1 = small_stream.surfaces[result.rows] == tab_1
    np.testing.assert_array_equal(result.predictions[on_tab_1], flipped.predictions[on_tab_1])
    assert (result.predictions[~on_tab_1] != flipped.predictions[~on_tab_1]).any()


def test_with_age_1_a_model_has_not_trained_on_the_span_before_the_scored_one(small_stream, control):
    labels = np.array(small_stream.labels)
    labels[small_stream.rows(3), 0] = 1 - labels[small_stream.rows(3), 0]
    flipped = with_labels(small_stream, labels)
    old, old_flipped, current, current_flipped = (
        run(stream, control, last_span=4, extra_age=age)
        for age in (1, 0)
        for stream in (small_stream, flipped)
    )
    assert np.isnan(predictions_of_span(small_stream, old, 3)).all()
    predictions = predictions_of_span(small_stream, old, 4)
    assert not np.isnan(predictions).any()
    np.testing.assert_array_equal(predictions, predictions_of_span(small_stream, old_flipped, 4))
    assert (
        current.predictions[-len(predictions) :] != current_flipped.predictions[-len(predictions) :]
    ).any()


def test_a_trial_ends_when_its_training_diverges(small_stream, control):
    labels = np.array(small_stream.labels)
    labels[small_stream.rows(4), small_stream.tasks.index("watch_time")] = 1e30
    result = run(with_labels(small_stream, labels), control)
    assert "training diverged" in result.diverged
    assert np.isnan(predictions_of_span(small_stream, result, 5)).all()


@pytest.mark.slow
def test_metrics_of_trials_agree_with_those_of_the_pipeline(finished_run, small_stream, deployment):
    """The pipeline's model differs from trials of the same configuration only as much as one more seed."""
    import pyarrow.parquet as pq

    from components.evaluation.bootstrap import SpanFigures, SpanRows
    from components.evaluation.progressive import progressive_figures

    surface, spans = small_stream.surface_names.index("tab_1"), (5, 6, 7)
    names = list(deployment.student.tasks)
    files = sorted(finished_run.root.glob("artifacts/**/ProgressiveEvaluator_tab_1/**/fresh.parquet"))
    tables = {
        int(pq.read_table(file, partitioning=None)["impression_span"][0].as_py()): pq.read_table(
            file, partitioning=None
        )
        for file in files
    }
    by_role = progressive_figures({span: tables[span] for span in spans}, deployment.tasks, 0, 0)
    jobs = [
        dataclasses.replace(deployment.control_job("tab_1"), surface=None, seed=seed) for seed in range(6)
    ]
    results = [run(small_stream, job, per_surface=True, first_span=2, last_span=7) for job in jobs]
    on_surface = small_stream.surfaces[results[0].rows] == surface
    where_by_span = [on_surface & (small_stream.spans[results[0].rows] == span) for span in spans]
    for task, metric in (("watch_time", "rmse"), ("click", "auc")):
        labels = small_stream.labels[results[0].rows, small_stream.tasks.index(task)]
        by_seed = []
        for result in results:
            predictions = result.predictions[:, names.index(task)]
            span_rows = [
                SpanRows(labels[where], np.arange(where.sum()), predictions[where]) for where in where_by_span
            ]
            figures = [
                SpanFigures(deployment.tasks[task].kind, [rows], len(rows.labels)) for rows in span_rows
            ]
            by_seed.append(np.mean([span_figures.compute_unweighted()[metric] for span_figures in figures]))
        pipeline_metric = by_role[task]["control"][metric]
        assert abs(pipeline_metric - np.mean(by_seed)) < 4 * np.std(by_seed, ddof=1) + 2e-3, (task, by_seed)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_trials_with_other_seeds_share_a_graph_and_give_the_same_predictions(small_stream, control, dropout):
    architecture = dataclasses.replace(control.architecture, dropout=dropout)
    first, second = (dataclasses.replace(control, architecture=architecture, seed=seed) for seed in (0, 3))
    traced_model.cache_clear()
    expected = run(small_stream, second, last_span=4).predictions
    traced_model.cache_clear()
    other_seed = run(small_stream, first, last_span=4).predictions
    np.testing.assert_array_equal(run(small_stream, second, last_span=4).predictions, expected)
    assert not np.array_equal(other_seed, expected, equal_nan=True)
    assert traced_model.cache_info().currsize == 1


def test_compiled_training_gives_the_same_predictions_up_to_rounding(small_stream, control, monkeypatch):
    plain = run(small_stream, control, last_span=4).predictions
    monkeypatch.setattr(trial_runner, "MIN_STEPS_TO_COMPILE", 1)
    compiled = run(small_stream, control, last_span=4).predictions
    np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-5)
    assert not np.array_equal(compiled, plain, equal_nan=True)
