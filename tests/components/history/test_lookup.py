from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.history.lookup import add_history, complete_here, open_lookup
from components.history.settings import History, HistorySource, Window
from components.history.state import open_state
from eventlog.kuairand.columns import LOG_COLUMNS
from eventlog.parquet_files import read_table
from eventlog.spans import span_files, write_span
from tests.components.history.small_log import (
    FRESH,
    HISTORY,
    RECENT,
    SPANS,
    complete,
    labelled,
    row,
    state_of,
    table_of,
    write_log,
)

HISTORY_COLUMNS = [name for name in LOG_COLUMNS.features if name.startswith("history_")]


def history_of(tmp_path, rows: list[dict[str, Any]], history: History = HISTORY) -> dict[str, list[Any]]:
    """The columns that the history adds to rows of the small log."""
    log = tmp_path / "log"
    if not log.exists():
        write_log(log)
    spans = sorted({one["impression_span"] for one in rows})
    lookup = open_lookup(complete(state_of(tmp_path / "state", log, history), spans), spans)
    return add_history(lookup, table_of(rows)).select(history.produced.names).to_pydict()


def near(*values: float) -> Any:
    return pytest.approx(values, abs=1e-6)


def test_counts_and_smoothed_means_are_those_of_all_earlier_spans(tmp_path):
    columns = history_of(tmp_path, SPANS[3][:2])
    # Over all rows: 2 of 4 clicks, 2 of 3 backs.
    assert columns == {
        "history_user_count": near(np.log(4), 0),
        "history_user_click": near((2 + 2 * 1 / 2) / (3 + 2), 1 / 2),
        "history_user_back": near((1 + 2 * 2 / 3) / (2 + 2), 2 / 3),
        "history_item_count": near(np.log(3), np.log(4)),
        "history_item_click": near((0 + 2 * 1 / 2) / (2 + 2), (2 + 2 * 1 / 2) / (2 + 2)),
        "history_item_back": near((0 + 2 * 2 / 3) / (1 + 2), (2 + 2 * 2 / 3) / (2 + 2)),
    }


def test_a_matured_row_has_the_history_of_its_fresh_row(tmp_path):
    fresh, matured = history_of(tmp_path, FRESH[1]), history_of(tmp_path, SPANS[3][2:])
    assert fresh == matured
    assert fresh["history_user_click"] == near((1 + 2 * 1 / 2) / (2 + 2))
    assert fresh["history_user_back"] == near(0)


def test_a_window_counts_only_its_spans(tmp_path):
    columns = history_of(tmp_path, SPANS[3][:1], History(
        entities={"user": "user"}, tasks=("click", "back"), prior_strength=2.0, window=Window(spans=1)
    ))  # fmt: skip
    assert columns == {
        "history_user_count": near(0),
        "history_user_click": near(0),
        "history_user_back": near((1 + 2 * 2 / 3) / (2 + 2)),
    }


def test_with_a_half_life_the_weight_of_a_span_halves(tmp_path):
    columns = history_of(tmp_path, SPANS[3][:1], History(
        entities={"user": "user"}, tasks=("click",), prior_strength=2.0, window=Window(half_life=1.0)
    ))  # fmt: skip
    # The weights of spans 0, 1 and 2 are 1/4, 1/2 and 1.
    prior = (1 / 4 + 1 / 2) / (2 / 4 + 1 / 2 + 1)
    assert columns == {
        "history_user_count": near(np.log(1 + 2 / 4 + 1 / 2)),
        "history_user_click": near((1 / 4 + 1 / 2 + 2 * prior) / (2 / 4 + 1 / 2 + 2)),
    }


def test_a_half_life_gives_the_same_weights_through_blocks_of_many_spans(tmp_path):
    log = tmp_path / "log"
    for span in range(8):
        write_span(log, span, [table_of(labelled([row("u", "a", span, span)], click=[span % 2]))])
    history = History(entities={"user": "user"}, tasks=("click",), window=Window(half_life=2.0))
    columns = history_of(tmp_path, [row("u", "a", 7, 7)], history)
    weights = 0.5 ** (np.arange(6, -1, -1) / 2)
    assert columns["history_user_count"] == near(np.log1p(weights.sum()))


def test_a_sequence_has_the_last_items_newest_first_with_their_ages(tmp_path):
    history = History(entities={"user": "user"}, sequences={"recent": RECENT})
    columns = history_of(tmp_path, SPANS[3][:2], history)
    # u1 saw b at hour 1 and a at hour 10; the row is at hour 13. u3 is new.
    assert columns == {
        "history_user_count": near(np.log(4), 0),
        "sequence_recent": [["a", "b"], None],
        "sequence_recent_ages": [[2, 3], None],
        "sequence_recent_hours": [3.0, None],
    }


@pytest.mark.parametrize(
    ("hours", "age"), [(0, 0), (0.99, 0), (1, 1), (2.99, 1), (3, 2), (7, 3), (15, 4), (-5, 0)]
)
def test_ages_are_in_steps_of_powers_of_two_hours_and_never_negative(tmp_path, hours, age):
    history = History(entities={"user": "user"}, sequences={"recent": RECENT})
    # The newest item of u2 before span 3 is of hour 12.
    columns = history_of(tmp_path, [row("u2", "a", 12 + hours, 3)], history)
    assert columns["sequence_recent_ages"][0][0] == age
    assert columns["sequence_recent_hours"] == near(max(hours, 0))


def test_a_window_limits_the_sequences_too(tmp_path):
    history = History(entities={"user": "user"}, sequences={"recent": RECENT}, window=Window(spans=2))
    assert history_of(tmp_path, SPANS[3][:1], history)["sequence_recent"] == [["a"]]


def test_a_row_of_a_list_has_the_mean_over_its_ids(tmp_path):
    log = tmp_path / "log"
    tagged = [row("u", "a", 0, 0, tags=["x", "y"]), row("u", "a", 1, 0, tags=["y"])]
    write_span(log, 0, [table_of(labelled(tagged, click=[1, 0]))])
    history = History(entities={"tag": "tags"}, tasks=("click",), prior_strength=2.0)
    rows = [row("u", "a", 2, 1, tags=tags) for tags in (["x", "y"], ["y", "new"], [], None)]
    columns = history_of(tmp_path, rows, history)
    x, y, prior = (1 + 1) / (1 + 2), (1 + 1) / (2 + 2), 1 / 2
    assert columns == {
        "history_tag_count": near((np.log(2) + np.log(3)) / 2, np.log(3) / 2, 0, 0),
        "history_tag_click": near((x + y) / 2, (y + prior) / 2, prior, prior),
    }


def test_the_first_span_has_no_history(tmp_path):
    columns = history_of(tmp_path, SPANS[0])
    assert columns["history_user_count"] == [0, 0, 0]
    assert columns["history_user_click"] == [0, 0, 0]


def test_the_columns_equal_those_that_the_simulator_has_written(tmp_path, small_log):
    """The simulator computes the same history while it writes the log, with code of its own."""
    own = HISTORY_COLUMNS
    tasks = tuple(name.removeprefix("history_user_") for name in own if name.startswith("history_user_"))[1:]
    history = History(entities={name: f"{name}_id" for name in ("user", "video", "author")}, tasks=tasks)
    source = HistorySource(history=history, log=str(small_log), folder=str(tmp_path))
    span = 6
    rows = pa.concat_tables([read_table(file) for file in span_files(small_log, span)])
    spans = sorted(set(rows["impression_span"].to_pylist()))
    assert spans == [3, 6]
    columns = add_history(complete_here(open_state(source, LOG_COLUMNS), spans), rows.drop(own))
    for name in own:
        np.testing.assert_allclose(columns[name].to_numpy(), rows[name].to_numpy(), rtol=1e-6, err_msg=name)
