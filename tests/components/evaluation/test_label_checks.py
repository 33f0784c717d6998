from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.evaluation.label_checks import LabelChecks, find_label_anomalies, label_statistics
from models.tasks import Task

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "watch_time": Task(kind="regression", group="pet", unit="seconds", scale="log1p"),
    "ltv": Task(kind="regression", group="other", unit="seconds", delay=3),
}


def rows(
    num: int = 2000, rate: float = 0.3, bias: float = 1.0, seed: int = 0, surface: str = "feed"
) -> pa.Table:
    """A surface with a click rate of about `rate` and soft labels that are off by the factor `bias`."""
    draw = np.random.default_rng(seed)
    truth = draw.beta(20 * rate, 20 * (1 - rate), num)
    seconds = draw.exponential(30.0, num)
    columns = {
        "surface": [surface] * num,
        "soft_click": np.minimum(bias * truth, 1.0),
        "label_click": (draw.random(num) < truth).astype(float),
        "soft_watch_time": bias * np.log1p(seconds),
        "label_watch_time": seconds,
        "soft_ltv": draw.exponential(5.0, num),
        "label_ltv": np.full(num, np.nan),
    }
    table = {name: pa.array(values) for name, values in columns.items() if name == "surface"}
    table |= {
        name: pa.array(np.asarray(values), pa.float32(), from_pandas=True)
        for name, values in columns.items()
        if name != "surface"
    }
    return pa.table(table)


def anomalies(now: pa.Table, before: pa.Table | None = None, **limits) -> dict[str, list[str]]:
    previous = None if before is None else label_statistics(before, TASKS)
    return find_label_anomalies(label_statistics(now, TASKS), previous, TASKS, LabelChecks(**limits))


def test_statistics_are_per_surface_and_on_the_tasks_scales() -> None:
    both = pa.concat_tables([rows(100), rows(50, surface="search")])
    datasets = {dataset.name: dataset for dataset in label_statistics(both, TASKS).datasets}
    assert {name: dataset.num_examples for name, dataset in datasets.items()} == {"feed": 100, "search": 50}
    features = {feature.path.step[0]: feature.num_stats for feature in datasets["feed"].features}
    seconds = rows(100)["label_watch_time"].to_numpy()
    assert features["label_watch_time"].mean == pytest.approx(np.log1p(seconds).mean(), rel=1e-5)
    assert features["soft_click"].mean == pytest.approx(rows(100)["soft_click"].to_numpy().mean(), rel=1e-5)
    assert features["label_ltv"].common_stats.num_non_missing == 0


def test_labels_close_to_the_last_set_and_the_hard_labels_have_no_anomaly() -> None:
    assert anomalies(rows(seed=1), rows(seed=2)) == {"drift": [], "skew": []}


def test_a_shifted_distribution_is_drift_with_surface_and_task() -> None:
    lines = anomalies(rows(rate=0.7), rows(rate=0.3, seed=1))
    assert lines["skew"] == []
    (line,) = lines["drift"]
    assert line.startswith("feed, soft_click: ")
    assert "Jensen-Shannon" in line


def test_the_limit_of_drift_is_configurable() -> None:
    assert anomalies(rows(rate=0.7), rows(rate=0.3, seed=1), drift=1.0)["drift"] == []


def test_without_an_earlier_set_nothing_drifts() -> None:
    assert anomalies(rows(rate=0.9)) == {"drift": [], "skew": []}


def test_a_new_surface_does_not_drift_and_a_shifted_one_does() -> None:
    now = pa.concat_tables([rows(rate=0.7), rows(rate=0.7, surface="search")])
    (line,) = anomalies(now, rows(rate=0.3, seed=1))["drift"]
    assert line.startswith("feed")


@pytest.mark.parametrize("bias", [0.4, 2.5])
def test_a_mean_far_from_that_of_the_hard_labels_is_skew(bias: float) -> None:
    lines = anomalies(rows(bias=bias, rate=0.2))["skew"]
    assert [line.partition(":")[0] for line in lines] == ["feed, click", "feed, watch_time"]
    ratio = float(lines[1].split(" is ")[1].split(",")[0])
    assert ratio == pytest.approx(bias, rel=0.01)


def test_skew_compares_only_rows_with_a_hard_label() -> None:
    now = rows(rate=0.2)
    likely = now["soft_click"].to_numpy() > 0.2
    hard = pa.array(np.where(likely, now["label_click"], np.nan), pa.float32(), from_pandas=True)
    now = now.set_column(now.schema.get_field_index("label_click"), "label_click", hard)
    assert anomalies(now, calibration=1.2)["skew"] == []


def test_a_ratio_within_the_calibration_limit_is_no_skew() -> None:
    assert anomalies(rows(bias=1.8, rate=0.2))["skew"] == []
    assert len(anomalies(rows(bias=1.8, rate=0.2), calibration=1.5)["skew"]) == 2


def test_too_few_rows_are_not_checked() -> None:
    few = rows(150, rate=0.7, bias=0.2)
    assert anomalies(few, rows(rate=0.3)) == {"drift": [], "skew": []}
    assert anomalies(few, rows(rate=0.3), min_rows=50)["drift"] != []
    assert anomalies(few, min_rows=50)["skew"] != []


def test_a_rare_task_is_not_compared_with_the_last_set() -> None:
    # The teacher expects 20, then 160 positives in 2,000 rows.
    assert anomalies(rows(2000, rate=0.08), rows(2000, rate=0.01, seed=1))["drift"] == []
    (line,) = anomalies(rows(2000, rate=0.08), rows(2000, rate=0.01, seed=1), min_rows=10)["drift"]
    assert line.startswith("feed, soft_click: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drift": 1.1}, r"label_checks.drift must be 0 to 1, got 1\.1"),
        ({"calibration": 1.0}, r"label_checks.calibration must be a finite number > 1, got 1\.0"),
        ({"calibration": float("nan")}, "label_checks.calibration must be a finite number > 1, got nan"),
        ({"min_rows": 0}, "label_checks.min_rows must be >= 1, got 0"),
    ],
)
def test_limits_out_of_range_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelChecks(**changes)
