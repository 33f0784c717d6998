"""The history state over tables with string ids, against hand-computed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.history import STATE_FILE, HistoryState
from eventlog.kuairand.columns import HISTORY, IMMEDIATE_TASKS


def rows(users: Sequence[str | None], click: Sequence[float | None], span: int = 0) -> pa.Table:
    columns = {
        "impression_span": pa.array([span] * len(users), pa.int64()),
        **{column: pa.array(users, pa.string()) for column in HISTORY.entities.values()},
        **{f"label_{task}": pa.array([0] * len(users), pa.float32()) for task in IMMEDIATE_TASKS},
        "label_click": pa.array(click, pa.float32()),
    }
    return pa.table(columns)


def random_span(span: int) -> pa.Table:
    generator = np.random.default_rng(span)
    users = [f"u{number}" for number in generator.integers(0, 20 + 10 * span, 100)]
    return rows(users, generator.integers(0, 2, 100).tolist(), span)


def test_every_feature_of_an_empty_history_is_zero() -> None:
    features = HistoryState(HISTORY).features(rows(["a", None], [1, 1]))
    assert features.schema == HISTORY.columns
    assert all(column.to_pylist() == [0, 0] for column in features.columns)


def test_features_are_smoothed_rates_of_earlier_spans() -> None:
    state = HistoryState(HISTORY)
    state.add_span(0, rows(["a", "a", "b", None], [1, 1, 0, 0]))
    features = state.features(rows(["b", "a", "new", None], [1, 1, 1, 1], span=1))
    np.testing.assert_allclose(
        features["history_user_count"].to_numpy(), [np.log(2), np.log(3), 0, 0], rtol=1e-6
    )
    # The prior is 2 clicks of 4 rows, its strength 10 labels.
    np.testing.assert_allclose(
        features["history_video_click"].to_numpy(), [5 / 11, 7 / 12, 0.5, 0.5], rtol=1e-6
    )
    assert features["history_author_like"].to_pylist() == [0, 0, 0, 0]


def test_a_null_label_does_not_count_in_the_mean() -> None:
    state = HistoryState(HISTORY)
    state.add_span(0, rows(["a", "a"], [1, None]))
    features = state.features(rows(["a"], [0], span=1))
    assert features["history_user_click"].to_pylist() == [1]
    assert features["history_user_count"].to_pylist() == pytest.approx([np.log(3)])


def test_features_do_not_depend_on_the_labels_of_their_own_span() -> None:
    state = HistoryState(HISTORY)
    state.add_span(0, random_span(0))
    ones = rows(["u1"] * 50, [1] * 50, span=1)
    zeros = rows(["u1"] * 50, [0] * 50, span=1)
    assert state.features(ones).equals(state.features(zeros))


def test_a_state_saved_and_loaded_after_each_span_equals_one_in_memory(tmp_path: Path) -> None:
    in_memory = HistoryState(HISTORY)
    for span in range(4):
        in_memory.add_span(span, random_span(span))
        reloaded = HistoryState.load(tmp_path, HISTORY)
        reloaded.add_span(span, random_span(span))
        reloaded.save(tmp_path)
    loaded = HistoryState.load(tmp_path, HISTORY)
    assert loaded.span == 3
    assert loaded.features(random_span(4)).equals(in_memory.features(random_span(4)))
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_missing_folder_loads_as_an_empty_state(tmp_path: Path) -> None:
    assert HistoryState.load(tmp_path / "none", HISTORY).span == -1


def test_an_empty_state_can_be_saved_and_loaded(tmp_path: Path) -> None:
    HistoryState(HISTORY).save(tmp_path)
    state = HistoryState.load(tmp_path, HISTORY)
    state.add_span(0, random_span(0))
    assert state.span == 0


def test_dictionary_columns_in_several_chunks_give_the_same_features() -> None:
    state = HistoryState(HISTORY)
    state.add_span(0, random_span(0))
    table = random_span(1)
    chunked = pa.concat_tables([table.slice(0, 30), table.slice(30)])
    for entity in HISTORY.entities:
        position = chunked.column_names.index(f"{entity}_id")
        chunked = chunked.set_column(position, f"{entity}_id", chunked[f"{entity}_id"].dictionary_encode())
    assert state.features(chunked).equals(state.features(table))
    assert state.features(chunked.slice(0, 0)).num_rows == 0


def test_a_span_out_of_order_is_refused_and_changes_nothing() -> None:
    state = HistoryState(HISTORY)
    state.add_span(0, random_span(0))
    before = state.features(random_span(1))
    with pytest.raises(ValueError, match="span must be 1, one more than the last span added, got 2"):
        state.add_span(2, random_span(2))
    assert state.features(random_span(1)).equals(before)


def test_matured_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="every row must have impression_span 0, got other spans too"):
        HistoryState(HISTORY).add_span(0, pa.concat_tables([random_span(0), random_span(1)]))


def test_an_unreadable_state_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=f"{STATE_FILE}: unreadable history state: expected the Parquet file"):
        HistoryState.load(tmp_path, HISTORY)


def test_a_state_with_other_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / STATE_FILE)
    with pytest.raises(BadInput, match="history state of another format: expected columns entity, id"):
        HistoryState.load(tmp_path, HISTORY)
