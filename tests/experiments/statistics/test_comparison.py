import dataclasses

import numpy as np
import pytest

from components.evaluation.metrics import squared_errors
from experiments.statistics.comparison import (
    SEEDS_ONLY,
    USERS_AND_SEEDS,
    ArmPair,
    Comparison,
    largest_surface,
)
from experiments.trials.stream import ExampleStream
from experiments.trials.trial_result import TrialResult
from models.tasks import Task

NUM_ROWS, NUM_SEEDS = 3000, 3
TASKS = {"click": Task(kind="binary", group="pet"), "watch": Task(kind="regression", group="pet", unit="s")}


@pytest.fixture(scope="module")
def stream():
    random = np.random.default_rng(3)
    signal = random.normal(size=NUM_ROWS)
    labels = np.stack([signal + random.normal(size=NUM_ROWS) > 0.5, signal + 2], axis=1)
    return ExampleStream(
        key="", tasks=tuple(TASKS), surface_names=("tab_1", "tab_0"), features={"signal": signal},
        labels=labels.astype(np.float32), spans=np.sort(random.integers(0, 4, NUM_ROWS)).astype(np.int32),
        fresh_row_indices=np.arange(NUM_ROWS), clusters=random.integers(0, 300, NUM_ROWS).astype(np.int32),
        surfaces=(random.random(NUM_ROWS) < 0.3).astype(np.int32), held_out=np.zeros(NUM_ROWS, bool),
    )  # fmt: skip


def arm(stream, skill, tasks=("click", "watch")):
    results = []
    for seed in range(NUM_SEEDS):
        noise = np.random.default_rng(seed).normal(size=NUM_ROWS) * 0.3
        logits = skill * stream.features["signal"] + noise
        columns = {"click": 1 / (1 + np.exp(-logits)), "watch": logits + 2}
        predictions = np.stack([columns[task] for task in tasks], axis=1).astype(np.float32)
        results.append(TrialResult(np.arange(NUM_ROWS), tasks, predictions, "", 1.0, 1, 1.0))
    return results


@pytest.fixture(scope="module")
def rows(stream):
    arms = {"teacher": arm(stream, 1.0), "student": arm(stream, 0.6), "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=200, min_positives=300)
    return comparison.rows("strategy", [ArmPair("student", "control", "teacher")], ("all", "tab_0"))


def only(rows, **fields):
    matching = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(matching) == 1, matching
    return matching[0]


def test_metrics_are_means_over_seeds_on_the_reporting_spans(stream, rows):
    reported = stream.spans >= 2
    by_seed = [
        np.sqrt(squared_errors(stream.labels[reported, 1], result.predictions[reported, 1]).mean())
        for result in arm(stream, 0.6)
    ]
    row = only(
        rows, arm="student", surface="all", task="watch", metric="rmse", versus="", interval=USERS_AND_SEEDS
    )
    assert row.mean == pytest.approx(np.mean(by_seed), rel=1e-6)
    assert row.low < row.mean < row.high and row.seeds == 3


def test_a_pair_has_both_intervals_of_the_difference_and_the_recovered_gain(rows):
    fields = {"arm": "student", "surface": "all", "task": "watch"}
    gain = only(rows, **fields, metric="rmse", versus="control", interval=USERS_AND_SEEDS)
    assert gain.difference_high < 0 and gain.p_holm < 0.05
    narrow = only(rows, **fields, metric="rmse", versus="control", interval=SEEDS_ONLY)
    assert narrow.difference_high - narrow.difference_low < gain.difference_high - gain.difference_low
    control, teacher = (
        only(
            rows, arm=name, surface="all", task="watch", metric="rmse", versus="", interval=USERS_AND_SEEDS
        ).mean
        for name in ("control", "teacher")
    )
    share = only(rows, **fields, metric="gain_recovered_rmse", versus="control", interval=USERS_AND_SEEDS)
    assert share.mean == pytest.approx(gain.difference / (teacher - control))


def test_the_recovered_gain_is_undefined_if_the_interval_of_the_teachers_gain_includes_0(stream):
    arms = {"teacher": arm(stream, 0.3), "student": arm(stream, 0.6), "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=50, min_positives=1)
    rows = comparison.rows("strategy", [ArmPair("student", "control", "teacher")], ("all",))
    share = only(rows, task="watch", metric="gain_recovered_rmse")
    assert share.mean is None and share.note.startswith("undefined: the interval of the teacher's gain")


def test_a_diverged_seed_removes_the_metrics_of_its_arm_only(stream):
    diverged = arm(stream, 0.6)
    missing = np.full_like(diverged[0].predictions, np.nan)
    diverged[0] = dataclasses.replace(diverged[0], predictions=missing, diverged="training diverged")
    arms = {"student": diverged, "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=20, min_positives=1)
    rows = comparison.rows("strategy", [ArmPair("student", "control")], ("all",))
    assert all(row.mean is None and row.difference is None for row in rows if row.arm == "student")
    assert all(row.mean is not None for row in rows if row.arm == "control")


def test_rows_that_one_arm_did_not_predict_count_for_no_arm(stream):
    new_surface = (stream.surfaces == 1)[:, None]
    partial = [
        dataclasses.replace(result, predictions=np.where(new_surface, np.nan, result.predictions))
        for result in arm(stream, 0.6)
    ]
    control = arm(stream, 0.3)
    comparison = Comparison(
        stream, TASKS, {"student": partial, "control": control}, range(2, 4), resamples=20, min_positives=1
    )
    rows = comparison.rows("strategy", [], ("all", "tab_1"))
    means = {
        (row.arm, row.surface): row.mean
        for row in rows
        if row.metric == "rmse" and row.interval == USERS_AND_SEEDS
    }
    assert means["control", "all"] == means["control", "tab_1"] and means["student", "all"] is not None


def test_few_positives_are_no_evidence(rows):
    few = only(rows, arm="student", surface="tab_0", task="click", metric="auc", versus="control",
               interval=USERS_AND_SEEDS)  # fmt: skip
    assert few.note == f"no evidence: {few.positives} positives" and few.p_holm is None
    many = only(rows, arm="student", surface="all", task="click", metric="auc", versus="control",
                interval=USERS_AND_SEEDS)  # fmt: skip
    assert many.note == "" and many.positives > 300


def test_an_arm_has_no_rows_of_a_task_that_it_lacks(stream):
    arms = {"student": arm(stream, 0.6), "control": arm(stream, 0.3, tasks=("watch",))}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=20, min_positives=1)
    rows = comparison.rows("strategy", [ArmPair("student", "control")], ("all",))
    assert {row.task for row in rows if row.arm == "control"} == {"watch"}
    assert {row.task for row in rows if row.versus} == {"watch"}


def test_the_largest_surface_has_the_most_impressions(stream):
    assert largest_surface(stream, range(0, 4)) == "tab_1"


def test_calibration_bins_all_seeds_of_every_arm_on_the_reporting_spans(stream):
    arms = {"student": arm(stream, 0.6), "blind": arm(stream, 0.0), "other": arm(stream, 1.0, ("watch",))}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=10, min_positives=300)
    curves = comparison.calibration("click")
    assert set(curves) == {"student", "blind"}
    rate = stream.labels[stream.spans >= 2, 0].mean()
    for predicted, observed in curves.values():
        assert predicted == sorted(predicted) and len(observed) == 10
        assert np.mean(observed) == pytest.approx(rate, abs=1e-3)
    # Noise does not rank: the first and last bins have equally many clicks.
    spread = {name: observed[-1] - observed[0] for name, (_, observed) in curves.items()}
    assert spread["student"] > 0.3
    assert abs(spread["blind"]) < 0.1
