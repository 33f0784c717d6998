import dataclasses

import numpy as np
import pytest

from experiments.trials import shared_prefix
from experiments.trials.course import Course, _traced
from experiments.trials.trial import SoftLabelSource, Trial
from models.distillation import Distillation


@pytest.fixture
def control(deployment):
    return dataclasses.replace(deployment.control_job("tab_1"), surface=None, batch_size=256)


@pytest.fixture
def student(deployment):
    distillation = {name: Distillation(strategy="auxiliary") for name in ("click", "ltv")}
    job = deployment.student_job("tab_1")
    return dataclasses.replace(job, surface=None, batch_size=256, distillation=distillation)


def course(stream, job, soft=None, **told):
    told = {"first_span": 2, "last_span": 6, "kept_from": 2, **told}
    return Course(stream, Trial(job=job, **told), soft).run()


def of_span(stream, outcome, span):
    return outcome.predictions[stream.spans[outcome.rows] == span]


def test_a_span_is_scored_before_it_is_learnt(small_stream, control):
    labels = np.array(small_stream.labels)
    labels[small_stream.rows(5), 0] = 1 - labels[small_stream.rows(5), 0]
    whole = course(small_stream, control)
    turned = course(dataclasses.replace(small_stream, labels=labels), control)
    for span in (3, 4, 5):
        np.testing.assert_array_equal(of_span(small_stream, whole, span), of_span(small_stream, turned, span))
    assert (of_span(small_stream, whole, 6) != of_span(small_stream, turned, 6)).any()
    assert np.isnan(of_span(small_stream, whole, 2)).all()


def test_held_out_clusters_are_scored_and_never_learnt(small_stream, control):
    labels = np.array(small_stream.labels)
    assert small_stream.held_out.any()
    labels[small_stream.held_out] = 1 - labels[small_stream.held_out]
    whole = course(small_stream, control)
    turned = course(dataclasses.replace(small_stream, labels=labels), control)
    np.testing.assert_array_equal(whole.predictions, turned.predictions)
    assert not np.isnan(whole.predictions[small_stream.spans[whole.rows] > 2]).any()


def test_a_student_without_labels_is_the_control(small_stream, control, student):
    nothing = np.full((len(small_stream.spans), 2), np.nan, np.float32)
    np.testing.assert_array_equal(
        course(small_stream, student, nothing).predictions, course(small_stream, control).predictions
    )


def test_what_students_have_in_common_is_learnt_once(small_stream, student, monkeypatch):
    soft = np.random.default_rng(0).random((len(small_stream.spans), 2)).astype(np.float32)
    soft[small_stream.spans < 5] = np.nan
    labels = SoftLabelSource(teacher="a", first_span=5)
    heavier = {name: dataclasses.replace(each, weight=4.0) for name, each in student.distillation.items()}
    heavy = dataclasses.replace(student, distillation=heavier)
    alone = course(small_stream, heavy, soft, labels=labels, kept_from=5)
    shared_prefix._BEGINNINGS.clear()
    course(small_stream, student, soft, labels=labels, kept_from=5)
    learnt = []
    monkeypatch.setattr(
        Course, "_learn", lambda self, span, *rest, learn=Course._learn, **told: (
            learnt.append(span), learn(self, span, *rest, **told)
        ),
    )  # fmt: skip
    after = course(small_stream, heavy, soft, labels=labels, kept_from=5)
    np.testing.assert_array_equal(after.predictions, alone.predictions)
    assert learnt == [5, 6]
    # The whole course counts, whoever has gone it.
    (common,) = shared_prefix._BEGINNINGS.values()
    assert after.seconds > common.seconds > 0
    # Another seed has nothing in common with them, nor has what keeps earlier predictions.
    course(small_stream, dataclasses.replace(heavy, seed=1), soft, labels=labels, kept_from=5)
    course(small_stream, heavy, soft, labels=labels, kept_from=4)
    assert learnt == [5, 6] + [2, 3, 4, 5, 6] * 2


def test_only_the_latest_beginnings_are_remembered():
    shared_prefix._BEGINNINGS.clear()
    for name in "abcdefghij":
        shared_prefix.remember(name, shared_prefix.Beginning([], True, 1.0))
    assert shared_prefix.remembered("b") is None and shared_prefix.remembered("c")


@pytest.mark.parametrize("strategy", ["auxiliary", "direct"])
def test_a_soft_loss_without_weight_teaches_nothing(small_stream, student, strategy):
    random = np.random.default_rng(0)
    labels = random.random((len(small_stream.spans), 2)).astype(np.float32)
    click = {"click": Distillation(strategy=strategy, weight=2.0)}
    both = {**click, "ltv": Distillation(strategy=strategy, weight=0.0)}
    alone, beside = (
        course(
            small_stream, dataclasses.replace(student, distillation=told), labels[:, : len(told)]
        ).predictions
        for told in (click, both)
    )
    np.testing.assert_allclose(beside, alone, rtol=1e-4, atol=1e-6)
    assert np.nanmax(np.abs(course(small_stream, student, labels).predictions - alone)) > 1e-3


def test_fresh_rows_learn_immediate_labels_and_matured_rows_delayed_ones(small_stream, student):
    last = small_stream.spans == 6
    nothing = np.full((len(small_stream.spans), 2), np.nan, np.float32)
    useless, click, ltv = (np.array(nothing) for _ in range(3))
    # LTV labels of the last span's impressions mature behind the log; those of span 2 mature in span 5.
    useless[last, 1] = 1.0
    click[small_stream.spans == 5, 0] = 0.9
    ltv[small_stream.spans == 2, 1] = 9.0
    base = course(small_stream, student, nothing).predictions
    np.testing.assert_array_equal(course(small_stream, student, useless).predictions, base)
    for labels in (click, ltv):
        assert (course(small_stream, student, labels).predictions != base)[-1500:].any()


def test_each_surface_has_a_model_of_its_own(small_stream, control):
    labels, tab_1 = np.array(small_stream.labels), small_stream.surface_names.index("tab_1")
    other = small_stream.surfaces != tab_1
    labels[other] = 1 - labels[other]
    whole = course(small_stream, control, per_surface=True)
    turned = course(dataclasses.replace(small_stream, labels=labels), control, per_surface=True)
    own = small_stream.surfaces[whole.rows] == tab_1
    np.testing.assert_array_equal(whole.predictions[own], turned.predictions[own])
    assert (whole.predictions[~own] != turned.predictions[~own]).any()


def test_an_older_teacher_scores_what_lies_further_ahead(small_stream, control):
    young, old = course(small_stream, control), course(small_stream, control, age=1)
    assert np.isnan(of_span(small_stream, old, 3)).all()
    assert not np.isnan(of_span(small_stream, old, 4)).any()
    assert (of_span(small_stream, old, 4) != of_span(small_stream, young, 4)).any()


def test_training_that_diverges_is_told_and_ends(small_stream, control):
    labels = np.array(small_stream.labels)
    labels[small_stream.rows(4), small_stream.tasks.index("watch_time")] = 1e30
    found = course(dataclasses.replace(small_stream, labels=labels), control)
    assert "training diverged" in found.diverged
    assert np.isnan(of_span(small_stream, found, 5)).all()


@pytest.mark.e2e
def test_the_harness_agrees_with_the_pipeline(finished_run, small_stream, deployment):
    """On the same configuration, within the noise of seeds: the pipeline's model is one more seed."""
    import pyarrow.parquet as pq

    from components.evaluation.bootstrap import SpanFigures, SpanRows
    from components.evaluation.progressive import progressive_figures

    surface, spans = small_stream.surface_names.index("tab_1"), (4, 5, 6)
    names = list(deployment.student.tasks)
    files = sorted(finished_run.root.glob("artifacts/**/ProgressiveEvaluator_tab_1/**/fresh.parquet"))
    tables = {int(pq.read_table(file)["impression_span"][0].as_py()): pq.read_table(file) for file in files}
    by_role = progressive_figures({span: tables[span] for span in spans}, deployment.tasks, 0, 0)
    for task, metric in (("watch_time", "rmse"), ("click", "auc")):
        column = small_stream.tasks.index(task)
        by_seed = []
        for seed in range(6):
            job = dataclasses.replace(deployment.control_job("tab_1"), surface=None, seed=seed)
            found = course(small_stream, job, per_surface=True)
            of_spans = []
            for span in spans:
                here = small_stream.spans[found.rows] == span
                here &= small_stream.surfaces[found.rows] == surface
                labels = small_stream.labels[found.rows[here], column]
                rows = SpanRows(labels, np.arange(len(labels)), found.predictions[here, names.index(task)])
                figures = SpanFigures(deployment.tasks[task].kind, [rows], len(labels)).once()
                of_spans.append(figures[metric])
            by_seed.append(np.mean(of_spans))
        of_pipeline = by_role[task]["control"][metric]
        assert abs(of_pipeline - np.mean(by_seed)) < 4 * np.std(by_seed, ddof=1) + 2e-3, (task, by_seed)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_graph_that_another_seed_traced_gives_the_same(small_stream, control, dropout):
    architecture = dataclasses.replace(control.architecture, dropout=dropout)
    first, second = (dataclasses.replace(control, architecture=architecture, seed=seed) for seed in (0, 3))
    _traced.cache_clear()
    alone = course(small_stream, second, last_span=4).predictions
    _traced.cache_clear()
    other = course(small_stream, first, last_span=4).predictions
    np.testing.assert_array_equal(course(small_stream, second, last_span=4).predictions, alone)
    assert not np.array_equal(other, alone, equal_nan=True)
    assert _traced.cache_info().currsize == 1


def test_a_long_course_is_compiled_and_says_the_same(small_stream, control, monkeypatch):
    plain = course(small_stream, control, last_span=4).predictions
    monkeypatch.setattr("experiments.trials.course._WORTH_COMPILING", 1)
    _traced.cache_clear()
    compiled = course(small_stream, control, last_span=4).predictions
    np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-5)
    assert not np.array_equal(compiled, plain, equal_nan=True)
