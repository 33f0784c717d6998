import numpy as np
import pytest

from components.evaluation.metrics import squared_errors
from experiments.statistics.comparison import BOTH, SEEDS, Comparison, Pair, largest_surface
from experiments.trials.outcome import Outcome
from experiments.trials.stream import Stream
from models.tasks import Task

ROWS, SEEDS_RUN = 3000, 3
TASKS = {"click": Task(kind="binary", group="pet"), "watch": Task(kind="regression", group="pet", unit="s")}


@pytest.fixture(scope="module")
def stream():
    random = np.random.default_rng(3)
    signal = random.normal(size=ROWS)
    labels = np.stack([signal + random.normal(size=ROWS) > 0.5, signal + 2], axis=1)
    return Stream(
        key="", tasks=tuple(TASKS), surface_names=("tab_1", "tab_0"), features={"signal": signal},
        labels=labels.astype(np.float32), spans=np.sort(random.integers(0, 4, ROWS)).astype(np.int32),
        twins=np.arange(ROWS), clusters=random.integers(0, 300, ROWS).astype(np.int32),
        surfaces=(random.random(ROWS) < 0.3).astype(np.int32), held_out=np.zeros(ROWS, bool),
    )  # fmt: skip


def arm(stream, skill, tasks=("click", "watch")):
    kept = []
    for seed in range(SEEDS_RUN):
        said = skill * stream.features["signal"] + np.random.default_rng(seed).normal(size=ROWS) * 0.3
        columns = {"click": 1 / (1 + np.exp(-said)), "watch": said + 2}
        predictions = np.stack([columns[task] for task in tasks], axis=1).astype(np.float32)
        kept.append(Outcome(np.arange(ROWS), tasks, predictions, "", 1.0, 1, 1.0))
    return kept


@pytest.fixture(scope="module")
def rows(stream):
    arms = {"teacher": arm(stream, 1.0), "student": arm(stream, 0.6), "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=200, min_positives=300)
    return comparison.rows("strategy", [Pair("student", "control", "teacher")], ("all", "tab_0"))


def only(rows, **wanted):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_figures_are_means_over_seeds_on_the_stretch_alone(stream, rows):
    later = stream.spans >= 2
    by_seed = [
        np.sqrt(squared_errors(stream.labels[later, 1], kept.predictions[later, 1]).mean())
        for kept in arm(stream, 0.6)
    ]
    row = only(rows, arm="student", surface="all", task="watch", metric="rmse", versus="", interval=BOTH)
    assert row.mean == pytest.approx(np.mean(by_seed), rel=1e-6)
    assert row.low < row.mean < row.high and row.seeds == 3


def test_a_difference_has_both_intervals_and_the_share_of_the_teachers_gain(rows):
    told = {"arm": "student", "surface": "all", "task": "watch"}
    gain = only(rows, **told, metric="rmse", versus="control", interval=BOTH)
    assert gain.difference_high < 0 and gain.p_holm < 0.05
    narrow = only(rows, **told, metric="rmse", versus="control", interval=SEEDS)
    assert narrow.difference_high - narrow.difference_low < gain.difference_high - gain.difference_low
    control, teacher = (
        only(rows, arm=name, surface="all", task="watch", metric="rmse", versus="", interval=BOTH).mean
        for name in ("control", "teacher")
    )
    share = only(rows, **told, metric="gain_recovered_rmse", versus="control", interval=BOTH)
    assert share.mean == pytest.approx(gain.difference / (teacher - control))


def test_the_share_is_undefined_where_the_teachers_gain_does_not_exclude_0(stream):
    arms = {"teacher": arm(stream, 0.3), "student": arm(stream, 0.6), "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=50, min_positives=1)
    found = comparison.rows("strategy", [Pair("student", "control", "teacher")], ("all",))
    share = only(found, task="watch", metric="gain_recovered_rmse")
    assert share.mean is None and share.note.startswith("undefined: the teacher's own gain")


def test_a_diverged_seed_leaves_its_arm_without_figures_and_the_others_with_theirs(stream):
    import dataclasses

    broken = arm(stream, 0.6)
    nothing = np.full_like(broken[0].predictions, np.nan)
    broken[0] = dataclasses.replace(broken[0], predictions=nothing, diverged="training diverged")
    arms = {"student": broken, "control": arm(stream, 0.3)}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=20, min_positives=1)
    found = comparison.rows("strategy", [Pair("student", "control")], ("all",))
    assert all(row.mean is None and row.difference is None for row in found if row.arm == "student")
    assert all(row.mean is not None for row in found if row.arm == "control")


def test_rows_that_an_arm_could_not_predict_yet_are_judged_for_none(stream):
    import dataclasses

    late, new = arm(stream, 0.6), stream.surfaces == 1
    late = [
        dataclasses.replace(kept, predictions=np.where(new[:, None], np.nan, kept.predictions))
        for kept in late
    ]
    control = arm(stream, 0.3)
    comparison = Comparison(
        stream, TASKS, {"student": late, "control": control}, range(2, 4), resamples=20, min_positives=1
    )
    found = comparison.rows("strategy", [], ("all", "tab_1"))
    row = {(row.arm, row.surface): row.mean for row in found if row.metric == "rmse" and row.interval == BOTH}
    assert row["control", "all"] == row["control", "tab_1"] and row["student", "all"] is not None


def test_few_positives_are_no_evidence(rows):
    few = only(rows, arm="student", surface="tab_0", task="click", metric="auc", versus="control",
               interval=BOTH)  # fmt: skip
    assert few.note == f"no evidence: {few.positives} positives" and few.p_holm is None
    many = only(rows, arm="student", surface="all", task="click", metric="auc", versus="control",
                interval=BOTH)  # fmt: skip
    assert many.note == "" and many.positives > 300


def test_an_arm_without_a_task_has_no_row_of_it(stream):
    arms = {"student": arm(stream, 0.6), "control": arm(stream, 0.3, tasks=("watch",))}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=20, min_positives=1)
    found = comparison.rows("strategy", [Pair("student", "control")], ("all",))
    assert {row.task for row in found if row.arm == "control"} == {"watch"}
    assert {row.task for row in found if row.versus} == {"watch"}


def test_the_largest_surface_is_that_of_most_impressions(stream):
    assert largest_surface(stream, range(0, 4)) == "tab_1"


def test_calibration_holds_every_arms_bins_over_all_seeds_of_the_stretch(stream):
    arms = {"student": arm(stream, 0.6), "blind": arm(stream, 0.0), "other": arm(stream, 1.0, ("watch",))}
    comparison = Comparison(stream, TASKS, arms, range(2, 4), resamples=10, min_positives=300)
    found = comparison.calibration("click")
    assert set(found) == {"student", "blind"}
    rate = stream.labels[stream.spans >= 2, 0].mean()
    for predicted, observed in found.values():
        assert predicted == sorted(predicted) and len(observed) == 10
        assert np.mean(observed) == pytest.approx(rate, abs=1e-3)
    # Noise alone ranks nothing: as many clicks in its first bin as in its last.
    spread = {name: observed[-1] - observed[0] for name, (_, observed) in found.items()}
    assert spread["student"] > 0.3
    assert abs(spread["blind"]) < 0.1
