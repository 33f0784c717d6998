import json

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.metrics import Ranking
from components.evaluation.predictions import predictions_schema, with_schema
from components.evaluation.progressive import progressive_figures
from eventlog.errors import BadInput
from models.tasks import Task

CLICK = {"click": Task(kind="binary", group="pet")}
WATCH = {"watch": Task(kind="regression", group="pet", unit="seconds", scale="log1p")}


def table(tasks, clusters, **columns):
    size = len(clusters)
    fixed = {
        "example_id": [f"e{i}" for i in range(size)],
        "cluster_id": clusters,
        "impression_span": [3] * size,
    }
    return with_schema(pa.table(fixed | columns), predictions_schema(tasks))


def simulated(rows=2000, seed=0, tasks=CLICK):
    generator = np.random.default_rng(seed)
    clusters = [f"u{i}" for i in generator.integers(0, 200, rows)]
    taste = generator.normal(size=rows)
    labels = (generator.random(rows) < 1 / (1 + np.exp(-taste))).astype(np.float32)
    scores = {
        f"{role}_click": 1 / (1 + np.exp(-(taste + generator.normal(0, noise, rows))))
        for role, noise in (("teacher", 0.1), ("student", 0.5), ("control", 1.5))
    }
    return table(tasks, clusters, label_click=labels, **scores)


def test_figures_by_hand():
    rows = table(
        CLICK,
        ["u", "u", "v", "v"],
        label_click=[1.0, 0.0, 1.0, 0.0],
        student_click=[0.75, 0.25, 0.5, 0.5],
        control_click=[0.5, 0.5, 0.5, 0.5],
    )
    figures = progressive_figures({3: rows}, CLICK, resamples=20, seed=1, min_positives=1)["click"]
    assert figures["student"]["auc"] == pytest.approx(3.5 / 4)
    assert figures["control"]["auc"] == 0.5
    assert figures["student"]["log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    assert figures["student"]["calibration"] == 1.0
    assert (figures["student"]["examples"], figures["student"]["positives"]) == (4, 2)
    mean, low, high = figures["difference"]["auc"]
    assert mean == pytest.approx(0.375)
    assert low <= mean <= high
    assert "teacher" not in figures


def test_student_minus_control_uses_only_rows_that_both_predicted():
    rows = table(
        CLICK,
        ["u", "u", "v", "v", "w"],
        label_click=[1.0, 0.0, 1.0, 0.0, 1.0],
        teacher_click=[0.9, 0.1, None, 0.9, 0.1],
        student_click=[0.75, 0.25, 0.5, 0.5, None],
        control_click=[0.5, 0.5, 0.5, None, 0.0],
    )
    figures = progressive_figures({3: rows}, CLICK, resamples=0, seed=1)["click"]
    assert figures["student"]["examples"] == figures["control"]["examples"] == 3
    # The student ranks .75 and .5 above .25; the control ties all.
    assert figures["difference"]["auc"] == [pytest.approx(0.5), None, None]
    # The teacher labelled two of the three.
    assert (figures["teacher"]["examples"], figures["teacher"]["auc"]) == (2, 1.0)


def test_masked_labels_equal_dropped_rows():
    rows = simulated()
    masked = rows["label_click"].to_numpy().copy()
    where = np.arange(masked.size) % 3 > 0
    column = rows.schema.get_field_index("label_click")
    with_nulls = rows.set_column(
        column, rows.schema.field(column), pa.array(masked, pa.float32(), mask=~where)
    )
    masked_figures = progressive_figures({3: with_nulls}, CLICK, 0, 1)["click"]
    dropped_figures = progressive_figures({3: rows.filter(pa.array(where))}, CLICK, 0, 1)["click"]
    for role in ("teacher", "student", "control"):
        for metric in ("auc", "log_loss", "calibration", "examples", "positives"):
            assert masked_figures[role][metric] == pytest.approx(dropped_figures[role][metric])


def test_auc_is_computed_within_each_span():
    first, second = simulated(seed=1), simulated(rows=1000, seed=2)
    figures = progressive_figures({3: first, 4: second}, CLICK, 10, 1)["click"]["student"]
    aucs = [
        Ranking(rows["label_click"], rows["student_click"], np.arange(rows.num_rows)).auc(
            np.ones((rows.num_rows, 1))
        )[0]
        for rows in (first, second)
    ]
    assert figures["auc"] == pytest.approx((2 * aucs[0] + aucs[1]) / 3)
    assert figures["examples"] == 3000


def test_the_better_student_has_a_difference_that_excludes_zero():
    figures = progressive_figures({3: simulated()}, CLICK, 100, 1)["click"]
    mean, low, high = figures["difference"]["auc"]
    assert 0 < low < mean < high
    assert mean == pytest.approx(figures["student"]["auc"] - figures["control"]["auc"])
    assert figures["difference"]["log_loss"][2] < 0
    low, high = figures["student"]["interval"]["auc"]
    assert low < figures["student"]["auc"] < high


def test_equal_models_have_a_difference_of_exactly_zero():
    rows = simulated()
    column = rows.schema.get_field_index("control_click")
    rows = rows.set_column(column, rows.schema.field(column), rows["student_click"])
    difference = progressive_figures({3: rows}, CLICK, 30, 1)["click"]["difference"]
    assert difference == {"auc": [0, 0, 0], "log_loss": [0, 0, 0], "calibration": [0, 0, 0]}


def test_below_the_floor_of_positives_no_interval_is_shown():
    rows = simulated(rows=200)
    positives = int(rows["label_click"].to_numpy().sum())
    above = progressive_figures({3: rows}, CLICK, 20, 1, min_positives=positives)["click"]
    below = progressive_figures({3: rows}, CLICK, 20, 1, min_positives=positives + 1)["click"]
    assert None not in above["difference"]["auc"]
    assert below["difference"]["auc"] == [above["difference"]["auc"][0], None, None]
    assert below["student"]["interval"] == {
        "auc": [None] * 2,
        "log_loss": [None] * 2,
        "calibration": [None] * 2,
    }


def test_a_regression_is_scored_on_its_scale_and_has_no_positives():
    seconds = [0.0, np.e - 1, np.e**2 - 1]
    rows = table(
        WATCH, ["u", "v", "w"], label_watch=seconds, student_watch=[1, 1, 1], control_watch=[0, 1, 2]
    )
    figures = progressive_figures({3: rows}, WATCH, 20, 1)["watch"]
    # Labels are 0, 1, 2 on the log1p scale.
    assert figures["student"]["rmse"] == pytest.approx(np.sqrt(2 / 3), rel=1e-6)
    assert figures["control"]["rmse"] == pytest.approx(0, abs=1e-6)
    assert figures["student"]["calibration"] == pytest.approx(1.0, rel=1e-6)
    assert set(figures["student"]) == {"rmse", "calibration", "examples", "interval"}
    assert None not in figures["difference"]["rmse"]


def test_a_role_without_predictions_is_absent():
    rows = table(CLICK, ["u", "v"], label_click=[1.0, 0.0], teacher_click=[0.9, 0.2])
    figures = progressive_figures({3: rows}, CLICK, 5, 1)["click"]
    assert list(figures) == ["teacher"]
    assert progressive_figures({3: rows.slice(0, 0)}, CLICK, 5, 1) == {"click": {}}
    assert progressive_figures({}, CLICK, 5, 1) == {"click": {}}


def test_figures_of_one_class_are_json_without_nan():
    rows = table(
        CLICK, ["u", "v"], label_click=[0.0, 0.0], student_click=[0.9, 0.2], control_click=[0.1, 0.1]
    )
    figures = progressive_figures({3: rows}, CLICK, 5, 1, min_positives=0)
    text = json.dumps(figures, allow_nan=False)
    assert json.loads(text)["click"]["student"]["auc"] is None
    assert figures["click"]["student"]["calibration"] is None
    assert figures["click"]["difference"]["auc"] == [None, None, None]


def test_a_prediction_that_is_not_finite_is_refused():
    rows = table(CLICK, ["u", "v"], label_click=[1.0, 0.0], student_click=[float("inf"), 0.2])
    with pytest.raises(BadInput, match="column student_click: not finite"):
        progressive_figures({3: rows}, CLICK, 5, 1)
