"""The chain of outcomes from click to comment, against hand-computed numbers."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from eventlog.kuairand.columns import IMMEDIATE_TASKS
from eventlog.simulator.outcomes import NUM_UNIFORMS, Expectations, draw_outcomes

VALUES = {
    "click": 0.5,
    "long_view_after_click": 0.6,
    "like_after_long_view": 0.1,
    "profile_enter_after_click": 0.2,
    "comment_after_long_view": 0.04,
    "shortest_long_view": 3.0,
    "longest_watch": 5.0,
    "long_view_share": 0.25,
}


def expectations(rows: int, **changes: float) -> Expectations:
    values = {**VALUES, **changes}
    assert set(values) == {field.name for field in fields(Expectations)}
    return Expectations(**{name: np.full(rows, value, dtype=np.float32) for name, value in values.items()})


def test_expectations_of_tasks_follow_from_the_chain() -> None:
    by_task = expectations(1).by_task()
    long_view = 0.5 * 0.6 + 0.5 * 0.005
    expected = {
        "click": 0.5,
        "long_view": long_view,
        # Short view: 0.36 of the shortest long view without a click, 0.62 after one. Long view: 3 + 2 / 4.
        "watch_time": 0.5 * 0.995 * 0.36 * 3 + 0.5 * 0.4 * 0.62 * 3 + long_view * 3.5,
        "like": 0.1 * (0.15 + 0.85 * long_view),
        "profile_enter": 0.2 * (0.15 + 0.85 * 0.5),
        "comment": 0.04 * (0.15 + 0.85 * long_view),
    }
    assert list(by_task) == list(IMMEDIATE_TASKS)
    assert {task: float(value[0]) for task, value in by_task.items()} == pytest.approx(expected, rel=1e-5)


def test_the_uniform_numbers_determine_the_outcomes() -> None:
    # Columns: a long view; a click without a long view; no click.
    uniforms = np.array(
        [
            [0.49, 0.49, 0.51],
            [0.59, 0.61, 0.59],
            [0.5, 0.5, 0.5],
            [0.09, 0.09, 0.014],
            [0.19, 0.19, 0.19],
            [0.03, 0.03, 0.005],
        ],
        dtype=np.float32,
    )
    assert uniforms.shape == (NUM_UNIFORMS, 3)
    outcomes = draw_outcomes(expectations(3), uniforms)
    assert {task: value.tolist() for task, value in outcomes.items() if task != "watch_time"} == {
        "click": [1, 1, 0],
        "long_view": [1, 0, 0],
        "like": [1, 0, 1],
        "profile_enter": [1, 1, 0],
        "comment": [1, 0, 1],
    }
    watch = [3 + 2 * 0.5**3, 3 * 0.5 ** (0.38 / 0.62), 3 * 0.5 ** (0.64 / 0.36)]
    assert outcomes["watch_time"].tolist() == pytest.approx(watch, rel=1e-5)
    assert all(value.dtype == np.float32 for value in outcomes.values())


@pytest.mark.parametrize("task", IMMEDIATE_TASKS)
def test_mean_outcomes_equal_their_expectations(task: str) -> None:
    truth = expectations(400_000)
    uniforms = np.random.default_rng(0).random((NUM_UNIFORMS, 400_000), dtype=np.float32)
    drawn, expected = draw_outcomes(truth, uniforms)[task], truth.by_task()[task][0]
    assert abs(drawn.mean() - expected) < 4 * drawn.std() / np.sqrt(len(drawn))
