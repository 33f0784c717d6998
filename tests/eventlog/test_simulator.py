"""The simulated world against its true expectations, and the log on disk."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.history import HistoryState
from eventlog.kuairand.columns import (
    HISTORY,
    IMMEDIATE_TASKS,
    LOG_SCHEMA,
    LTV_DELAY,
    LTV_WINDOW_SPANS,
)
from eventlog.simulator import SURFACES, SimulatedSpan, World, simulate, simulated_spans
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import VALUES_PER_TRAIT
from eventlog.spans import span_files

Array = Any
EXAMPLES = 20_000
BINARY_TASKS = [task for task in IMMEDIATE_TASKS if task != "watch_time"]


@pytest.fixture(scope="module")
def world() -> list[SimulatedSpan]:
    return first_spans(6, EXAMPLES, seed=5)


def first_spans(spans: int, examples: int, seed: int, parameters: World | None = None) -> list[SimulatedSpan]:
    return list(itertools.islice(simulated_spans(parameters or World(), examples, seed), spans))


def fresh_truth(simulated: SimulatedSpan, task: str) -> Array:
    return simulated.truth[f"true_{task}"].to_numpy()[-simulated.fresh.num_rows :]


def label(simulated: SimulatedSpan, task: str) -> Array:
    return simulated.fresh[f"label_{task}"].to_numpy()


def matured_rows(simulated: SimulatedSpan) -> pa.Table:
    assert simulated.matured is not None
    return simulated.matured


def area_under_curve(score: Array, positive: Array) -> float:
    ranks = np.empty(len(score))
    ranks[np.argsort(score)] = np.arange(1, len(score) + 1)
    hits = positive.sum()
    return float((ranks[positive > 0].sum() - hits * (hits + 1) / 2) / (hits * (len(score) - hits)))


def read_log(folder: Path, span: int) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(path).read() for path in span_files(folder, span)])


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        ("click", 0.40, 0.50),
        ("long_view", 0.27, 0.34),
        ("watch_time", 1.8, 2.3),
        ("like", 0.015, 0.025),
        ("profile_enter", 0.015, 0.025),
        ("comment", 0.002, 0.0045),
    ],
)
def test_mean_labels_match_a_short_video_app(
    world: list[SimulatedSpan], task: str, low: float, high: float
) -> None:
    assert low < np.mean([label(span, task).mean() for span in world]) < high


def test_surfaces_have_their_shares_and_base_rates(world: list[SimulatedSpan]) -> None:
    surface = pc.cast(world[0].fresh["surface"], pa.string()).to_numpy()
    for expected in SURFACES:
        assert (surface == expected.name).mean() == pytest.approx(expected.share, abs=0.01)
    rates = {name: label(world[0], "click")[surface == name].mean() for name in set(surface)}
    assert rates["tab_0"] < rates["tab_6"] < 0.33
    assert 0.40 < rates["tab_1"] < rates["tab_4"]


@pytest.mark.parametrize("task", IMMEDIATE_TASKS)
def test_true_expectations_are_calibrated_overall_and_by_decile(
    world: list[SimulatedSpan], task: str
) -> None:
    truth = np.concatenate([fresh_truth(span, task) for span in world])
    labels = np.concatenate([label(span, task) for span in world])
    for rows in [np.arange(len(truth)), *np.array_split(np.argsort(truth), 10)]:
        error = (labels[rows] - truth[rows]).astype(np.float64)
        variance = error.var() if task == "watch_time" else np.mean(truth[rows] * (1 - truth[rows]))
        assert abs(error.mean()) < 4 * np.sqrt(variance / len(rows))


@pytest.mark.parametrize("task", BINARY_TASKS)
def test_true_expectations_rank_better_than_any_history_feature(
    world: list[SimulatedSpan], task: str
) -> None:
    last = world[-1]
    true_auc = area_under_curve(fresh_truth(last, task), label(last, task))
    assert true_auc > 0.75
    for name in HISTORY.columns.names:
        score = last.fresh[name].to_numpy()
        assert true_auc > max(area_under_curve(sign * score, label(last, task)) for sign in (1, -1))


def test_history_features_predict_clicks(world: list[SimulatedSpan]) -> None:
    last = world[-1]
    for entity in ("user", "video"):
        past = last.fresh[f"history_{entity}_click"].to_numpy()
        assert area_under_curve(past, label(last, "click")) > 0.56


def test_traits_predict_clicks(world: list[SimulatedSpan]) -> None:
    clicks = label(world[0], "click")
    traits = world[0].fresh["user_traits"].to_pylist()
    rate = {
        token: clicks[np.array([token in tokens for tokens in traits])].mean() for token in ("2=0", "2=4")
    }
    assert rate["2=4"] > rate["2=0"] + 0.05


def test_watch_time_agrees_with_long_view_and_duration(world: list[SimulatedSpan]) -> None:
    fresh = world[0].fresh
    has_duration = fresh["duration_seconds"].is_valid().to_numpy()
    assert 0.9 < has_duration.mean() < 1
    duration = fresh["duration_seconds"].to_numpy()[has_duration]
    seconds = np.expm1(label(world[0], "watch_time")[has_duration])
    long_view = label(world[0], "long_view")[has_duration] > 0
    threshold = np.minimum(duration, 18)
    assert np.all(seconds[long_view] >= threshold[long_view] * 0.999)
    assert np.all(seconds[~long_view] <= threshold[~long_view] * 1.001)
    assert np.all(seconds <= 1.101 * duration)


def test_clickbait_raises_clicks_and_lowers_satisfaction() -> None:
    # The log does not show clickbait, so the test reads it from the state of the same world.
    simulated = first_spans(1, EXAMPLES, seed=5)[0]
    videos = WorldState(World(), EXAMPLES, 5).videos
    index = pc.cast(simulated.fresh["video_id"], pa.string()).to_pylist()
    bait = videos.clickbait[[int(name[1:]) for name in index]] > 0
    assert 0.05 < bait.mean() < 0.4
    assert label(simulated, "click")[bait].mean() > label(simulated, "click")[~bait].mean() + 0.1
    clicked = label(simulated, "click") > 0
    long_view = label(simulated, "long_view")
    assert long_view[bait & clicked].mean() < long_view[~bait & clicked].mean() - 0.2
    assert label(simulated, "like")[bait].mean() < 0.6 * label(simulated, "like")[~bait].mean()


def test_base_rates_drift_unless_their_persistence_is_one() -> None:
    def surface_trends(parameters: World) -> Array:
        state = WorldState(parameters, 100, seed=0)
        trends = [state.surface_trend]
        for _ in range(20):
            state.advance()
            trends.append(state.surface_trend)
        return np.stack(trends)

    assert np.all(surface_trends(World()).std(axis=0) > 0.03)
    assert np.all(surface_trends(World(base_persistence=1.0)).std(axis=0) < 1e-6)


def test_new_users_and_videos_arrive_in_each_span(world: list[SimulatedSpan]) -> None:
    for name, share in (("user_id", 0.03), ("video_id", 0.05)):
        seen: set[str] = set()
        first_seen = 0
        for span in world:
            present = set(pc.cast(span.fresh[name], pa.string()).to_pylist())
            first_seen = max(first_seen, len(present - seen))
            seen |= present
        numbers = [int(entity[1:]) for entity in present]
        size = EXAMPLES / (1 if name == "user_id" else 5)
        assert size < max(numbers) < size * (1 + 5 * share) + 1
        early = [
            int(entity[1:]) for entity in pc.unique(pc.cast(world[0].fresh[name], pa.string())).to_pylist()
        ]
        assert max(early) < size


def test_ltv_is_the_watch_time_of_the_window_after_the_span() -> None:
    exact = World(logging_bias=0.0, logging_noise=0.0)
    spans = first_spans(LTV_DELAY + 2, 400, seed=1, parameters=exact)
    for matured_in in range(LTV_DELAY, len(spans)):
        rows = matured_rows(spans[matured_in])
        seconds: dict[str, float] = {}
        for later in range(matured_in - LTV_WINDOW_SPANS, matured_in):
            users = pc.cast(spans[later].fresh["user_id"], pa.string()).to_pylist()
            for user, watch_time in zip(users, label(spans[later], "watch_time"), strict=True):
                seconds[user] = seconds.get(user, 0.0) + float(np.expm1(watch_time))
        expected = [np.log1p(seconds.get(user.as_py(), 0.0)) for user in rows["user_id"]]
        np.testing.assert_allclose(rows["label_ltv"].to_numpy(), expected, rtol=1e-4)


def test_matured_rows_equal_the_fresh_rows_except_for_the_labels(world: list[SimulatedSpan]) -> None:
    for span in range(len(world)):
        if span < LTV_DELAY:
            assert world[span].matured is None
            continue
        fresh, matured = world[span - LTV_DELAY].fresh, matured_rows(world[span])
        labels = [name for name in LOG_SCHEMA.names if name.startswith("label_")]
        assert matured.drop(labels).equals(fresh.drop(labels))
        assert matured["label_ltv"].null_count == 0
        assert all(matured[f"label_{task}"].null_count == matured.num_rows for task in IMMEDIATE_TASKS)


def test_fresh_rows_have_every_label_except_ltv(world: list[SimulatedSpan]) -> None:
    for span in world:
        assert span.fresh["label_ltv"].null_count == span.fresh.num_rows
        assert all(span.fresh[f"label_{task}"].null_count == 0 for task in IMMEDIATE_TASKS)


def test_ltv_is_heavy_tailed(world: list[SimulatedSpan]) -> None:
    seconds = np.expm1(matured_rows(world[-1])["label_ltv"].to_numpy().astype(np.float64))
    assert np.percentile(seconds, 99) > 10 * np.median(seconds)


def test_the_logging_bias_is_constant_in_a_cell_and_drifts_over_spans() -> None:
    parameters = World(logging_noise=0.0, logging_bias=1.0, logging_bias_persistence=0.5)
    spans = first_spans(LTV_DELAY + 6, 10_000, seed=2, parameters=parameters)
    cells: list[dict[tuple[str, str], float]] = []
    for simulated in spans[LTV_DELAY:]:
        rows = matured_rows(simulated)
        true = np.expm1(simulated.truth["true_ltv"].to_numpy()[: rows.num_rows].astype(np.float64))
        logged = np.expm1(rows["label_ltv"].to_numpy().astype(np.float64))
        errors_by_cell: dict[tuple[str, str], set[float]] = {}
        for traits, tags, true_seconds, logged_seconds in zip(
            rows["user_traits"].to_pylist(), rows["tag"].to_pylist(), true, logged, strict=True
        ):
            if true_seconds > 60 and tags:
                errors_by_cell.setdefault((traits[0], tags[0]), set()).add(
                    float(np.log(logged_seconds / true_seconds))
                )
        assert all(np.ptp(list(errors)) < 1e-3 for errors in errors_by_cell.values())
        cells.append({cell: next(iter(errors)) for cell, errors in errors_by_cell.items()})
    common = sorted(set.intersection(*map(set, cells)))
    values = np.array([[cell[name] for name in common] for cell in cells])
    assert values.std() == pytest.approx(1.0, abs=0.15)
    next_span = np.mean([np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(values)])
    assert next_span == pytest.approx(0.5, abs=0.15)
    assert np.corrcoef(values[0], values[5])[0, 1] < 0.3


def test_history_features_use_only_labels_of_earlier_spans() -> None:
    # The expected history is computed from the tables of earlier spans alone.
    spans = first_spans(6, 500, seed=3)
    state = HistoryState(HISTORY)
    for simulated in spans:
        expected = state.features(simulated.fresh)
        for name in HISTORY.columns.names:
            np.testing.assert_allclose(simulated.fresh[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6)
        state.add_span(simulated.span, simulated.fresh)


def test_the_log_on_disk_has_the_schema_the_order_and_the_true_expectations(tmp_path: Path) -> None:
    written: list[tuple[int, int]] = []
    simulate(tmp_path, 5, 300, seed=1, on_span=lambda span, rows: written.append((span, rows)))
    assert written == [(0, 300), (1, 300), (2, 300), (3, 600), (4, 600)]
    for span in range(5):
        table = read_log(tmp_path, span)
        assert table.schema.equals(LOG_SCHEMA)
        assert np.all(np.diff(table["event_time_ms"].to_numpy()) >= 0)
        assert pc.count_distinct(table["example_id"]).as_py() == table.num_rows
        fresh = pc.equal(table["impression_span"], span).to_numpy()
        assert fresh.sum() == 300
        assert set(table["impression_span"].to_pylist()) <= {span, span - LTV_DELAY}
        for name in LOG_SCHEMA.names:
            if LOG_SCHEMA.field(name).type == pa.float32():
                assert not pc.any(pc.is_nan(table[name]), min_count=0).as_py()
        truth = pq.read_table(tmp_path / "_truth" / f"span={span}" / "part-00000.parquet", partitioning=None)
        assert truth["example_id"].equals(table["example_id"])
        assert truth["true_click"].is_valid().to_numpy().tolist() == fresh.tolist()
        assert truth["true_ltv"].is_valid().to_numpy().tolist() == (~fresh).tolist()


def test_values_missing_in_real_logs_are_null(world: list[SimulatedSpan]) -> None:
    table = world[0].fresh
    with_nulls = [
        name for name in table.column_names if not name.startswith("label_") and table[name].null_count
    ]
    assert with_nulls == [
        "duration_seconds",
        "follow_user_num",
        "fans_user_num",
        "friend_user_num",
        "register_days",
    ]
    assert pc.min(pc.list_value_length(table["tag"])).as_py() == 0
    num_traits = pc.list_value_length(table["user_traits"]).to_numpy()
    assert set(num_traits) == {5, 6}
    assert (num_traits == 5).mean() == pytest.approx(0.05, abs=0.02)
    tokens = pc.unique(pc.list_flatten(table["user_traits"])).to_pylist()
    assert set(tokens) == {
        f"{trait}={value}" for trait, number in enumerate(VALUES_PER_TRAIT) for value in range(number)
    }


def test_old_users_leave_as_new_users_arrive() -> None:
    last = first_spans(6, 5_000, seed=4, parameters=World(new_users=0.2))[-1]
    users = pc.cast(last.fresh["user_id"], pa.string()).to_pylist()
    first = np.mean([int(user[1:]) < 5_000 for user in users])
    # The first users keep e^-1 of their activity; later users have 0.2 (1 + e^-0.2 + ... + e^-0.8).
    assert first == pytest.approx(0.348, abs=0.04)


def test_equal_seeds_give_equal_bytes_and_different_seeds_different_logs(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        simulate(tmp_path / name, 4, 200, seed)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert not read_log(tmp_path / "one", 0).equals(read_log(tmp_path / "other", 0))


def test_an_extended_log_equals_one_written_in_a_single_run(tmp_path: Path) -> None:
    simulate(tmp_path / "single_run", 6, 200, seed=7)
    simulate(tmp_path / "extended", 4, 200, seed=7)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "extended").rglob("part-*")}
    simulate(tmp_path / "extended", 6, 200, seed=7)
    assert files_of(tmp_path / "extended") == files_of(tmp_path / "single_run")
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    written: list[int] = []
    simulate(tmp_path / "extended", 5, 200, seed=7, on_span=lambda span, rows: written.append(span))
    assert written == []


def test_an_incomplete_span_is_written_again(tmp_path: Path) -> None:
    simulate(tmp_path, 3, 200, seed=7)
    before = files_of(tmp_path)
    (tmp_path / "span=1" / "_SUCCESS").unlink()
    simulate(tmp_path, 3, 200, seed=7)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10, 0), "spans too small: expected at least 1, got 0. Give a larger --spans."),
        ((1, 0, 0), "examples_per_span too small: expected at least 1, got 0"),
        ((1, 10, -1), "seed too small: expected at least 0, got -1"),
    ],
)
def test_numbers_that_are_too_small_are_refused(
    tmp_path: Path, arguments: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        simulate(tmp_path / "log", *arguments)
    assert not (tmp_path / "log").exists()


def test_a_log_with_other_arguments_is_refused(tmp_path: Path) -> None:
    simulate(tmp_path, 1, 10, seed=0)
    with pytest.raises(BadInput, match="another simulation: expected seed 1, got seed 0"):
        simulate(tmp_path, 2, 10, seed=1)
    with pytest.raises(BadInput, match="expected examples_per_span 11, got examples_per_span 10"):
        simulate(tmp_path, 2, 11, seed=0)
    with pytest.raises(BadInput, match="expected world"):
        simulate(tmp_path, 2, 10, seed=0, world=World(logging_bias=0.0))


def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "other_file").touch()
    with pytest.raises(BadInput, match="folder in use: expected an empty folder or a simulated log"):
        simulate(tmp_path, 1, 10, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["other_file"]


@pytest.mark.parametrize("text", ["{", json.dumps([1])])
def test_an_unreadable_record_of_the_simulation_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_world.json").write_text(text)
    with pytest.raises(BadInput, match=r"unreadable record of the simulation|log of another simulation"):
        simulate(tmp_path, 1, 10, seed=0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"taste_persistence": 1.5}, r"taste_persistence must be in \[0, 1\], got 1.5"),
        ({"impressions_per_user": 0.0}, "impressions_per_user must be above 0, got 0.0"),
        ({"logging_bias": -1.0}, "logging_bias must be a number >= 0, got -1.0"),
        ({"activity_noise": float("nan")}, "activity_noise must be a number >= 0, got nan"),
    ],
)
def test_parameters_outside_their_range_are_refused(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(**parameters)


def test_one_example_per_span_is_enough(tmp_path: Path) -> None:
    simulate(tmp_path, 5, 1, seed=0)
    assert read_log(tmp_path, 4).num_rows == 2
