import dataclasses
import logging
import shutil

import pyarrow as pa
import pytest

from components.history import state as state_module
from components.history.lookup import add_history, open_lookup
from components.history.settings import History, ItemSequence, Window
from components.history.state import build_here, plan_build
from eventlog.spans import span_folder, write_span
from tests.components.history.small_log import (
    COLUMNS,
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

WITH_ITEMS = dataclasses.replace(HISTORY, sequences={"recent": RECENT})


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log")


def files_of(state) -> dict[str, int]:
    """Published file → time of its last change."""
    from pathlib import Path

    folder = Path(state.folder)
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.glob("spans=*/*")}


def folders_of(state) -> set[str]:
    return {file.partition("/")[0] for file in files_of(state)}


def columns_of(state, rows) -> pa.Table:
    spans = sorted({one["impression_span"] for one in rows})
    return add_history(open_lookup(complete(state, spans), spans), table_of(rows)).select(
        state.history.produced.names
    )


def test_a_span_adds_its_own_blocks_and_changes_no_earlier_file(tmp_path, log):
    state = complete(state_of(tmp_path / "state", log), [2])
    before = files_of(state)
    assert folders_of(state) == {"spans=0-0", "spans=1-1", "spans=0-1"}
    complete(state, [3])
    assert folders_of(state) == {"spans=0-0", "spans=1-1", "spans=0-1", "spans=2-2"}
    assert {file: time for file, time in files_of(state).items() if file in before} == before


def test_a_complete_state_has_nothing_to_build(tmp_path, log):
    state = complete(state_of(tmp_path / "state", log), [3])
    assert plan_build(state, [1, 2, 3]) is None
    assert plan_build(state, [0]) is None


def test_an_attempt_that_is_killed_leaves_nothing_visible_and_the_next_one_completes(tmp_path, log):
    state = state_of(tmp_path / "state", log)
    killed = plan_build(state, [3])
    assert killed is not None
    for unit in killed.units:
        list(killed.count_unit(unit))
    killed.write_shard(("user", 0), [])
    assert folders_of(state) == set()
    columns_of(state, SPANS[3])
    assert folders_of(state) == {"spans=0-0", "spans=1-1", "spans=0-1", "spans=2-2"}


def test_of_two_attempts_at_once_the_first_stays(tmp_path, log):
    state = state_of(tmp_path / "state", log)
    first, second = plan_build(state, [3]), plan_build(state, [3])
    assert first is not None and second is not None
    build_here(first)
    before = files_of(state)
    build_here(second)
    assert files_of(state) == before


def test_an_attempt_without_all_its_files_is_not_published(tmp_path, log):
    build = plan_build(state_of(tmp_path / "state", log), [1])
    assert build is not None
    build.write_shard(("user", 0), [])
    with pytest.raises(RuntimeError, match="expected 9 files, got 1"):
        build.publish()


def test_folders_of_killed_attempts_are_deleted_after_a_day(tmp_path, log, monkeypatch):
    state = state_of(tmp_path / "state", log)
    killed = plan_build(state, [1])
    assert killed is not None
    assert plan_build(state, [1]) is not None
    from pathlib import Path

    assert Path(killed.attempt).is_dir()
    monkeypatch.setattr(state_module, "_ABANDONED_AFTER_SECONDS", -1.0)
    assert plan_build(state, [1]) is not None
    assert not Path(killed.attempt).exists()


def test_a_revised_span_counts_with_its_newest_version(tmp_path, log):
    state = complete(state_of(tmp_path / "state", log), [3])
    write_span(log, 1, [table_of(labelled([*FRESH[1], row("u1", "b", 10.5, 1)], click=[0, 0]))], version=1)
    revised = state_of(tmp_path / "state", log)
    with_revision = columns_of(revised, SPANS[3][:1])
    assert folders_of(revised) - folders_of(state) == set()
    assert len(folders_of(revised)) == 6
    assert with_revision["history_user_click"].to_pylist() == [pytest.approx((1 + 2 * 1 / 5) / (4 + 2))]


def test_a_missing_span_adds_nothing_and_counts_once_it_has_come(tmp_path):
    log = tmp_path / "log"
    for span in (0, 2):
        write_span(log, span, [table_of(SPANS[span])])
    without = columns_of(state_of(tmp_path / "state", log), SPANS[3][:1])
    assert without["history_user_click"].to_pylist() == [pytest.approx((1 + 2 * 1 / 3) / (2 + 2))]
    write_span(log, 1, [table_of(SPANS[1])])
    with_all = columns_of(state_of(tmp_path / "state", log), SPANS[3][:1])
    assert with_all["history_user_click"].to_pylist() == [pytest.approx((2 + 2 * 2 / 4) / (3 + 2))]


def test_spans_that_are_deleted_from_the_log_still_count(tmp_path, log):
    write_span(log, 1, [table_of(labelled(FRESH[1], click=[0]))], version=1)
    before = columns_of(state_of(tmp_path / "state", log), SPANS[3])
    for folder in ("span=0", "span=1", "span=1-v1"):
        shutil.rmtree(log / folder)
    state = state_of(tmp_path / "state", log)
    assert state.versions == {0: 0, 1: 1, 2: 0, 3: 0}
    assert plan_build(state, [3]) is None
    assert columns_of(state, SPANS[3]).equals(before)
    columns_of(state, [row("u1", "a", 20, 4)])
    assert "spans=3-3" in folders_of(state)


def test_a_log_that_begins_late_needs_no_blocks_before_it(tmp_path):
    log = tmp_path / "log"
    write_span(log, 1000, [table_of(labelled([row("u", "a", 0, 1000)], click=[1]))])
    state = state_of(tmp_path / "state", log)
    columns = columns_of(state, [row("u", "a", 1, 1001)])
    assert columns["history_user_click"].to_pylist() == [1.0]
    assert folders_of(state) == {"spans=1000-1000"}


def test_a_faulty_span_adds_nothing_and_is_reported(tmp_path, caplog):
    spans = [SPANS[0], [*SPANS[1], *SPANS[1]], SPANS[2]]
    log = write_log(tmp_path / "log", spans)
    with caplog.at_level(logging.WARNING):
        columns = columns_of(state_of(tmp_path / "state", log), SPANS[3][:1])
    assert "span 1 adds nothing to the history" in caplog.text
    assert "duplicate example_id" in caplog.text
    assert columns["history_user_click"].to_pylist() == [pytest.approx((1 + 2 * 1 / 3) / (2 + 2))]


def test_the_labels_of_a_span_without_fresh_rows_count(tmp_path):
    log = write_log(tmp_path / "log", [*SPANS[:2], SPANS[2][1:]])
    columns = columns_of(state_of(tmp_path / "state", log), SPANS[3][:1])
    assert columns["history_user_back"].to_pylist() == [pytest.approx((1 + 2 * 2 / 3) / (2 + 2))]


def test_a_window_needs_no_longer_blocks_than_itself(tmp_path):
    log = tmp_path / "log"
    for span in range(9):
        write_span(log, span, [table_of(labelled([row("u", "a", span, span)], click=[1]))])
    state = complete(
        state_of(tmp_path / "state", log, dataclasses.replace(HISTORY, window=Window(spans=2))), [8]
    )
    assert folders_of(state) == {"spans=6-6", "spans=7-7", "spans=6-7"}


def random_log(folder, spans: int = 5, rows: int = 200):
    """A log of real-valued labels; its files have row groups of 64 rows."""
    import numpy as np

    random = np.random.default_rng(3)
    for span in range(spans):
        users, items = random.integers(0, 30, rows), random.integers(0, 12, rows)
        fresh = [
            row(f"u{user}", f"i{item}", n / 100 + span, span)
            for n, (user, item) in enumerate(zip(users, items, strict=True))
        ]
        table = table_of(labelled(fresh, click=list(random.normal(size=rows).astype(np.float32))))
        write_span(folder, span, [table])
    return folder


def test_the_columns_have_the_same_bits_for_any_number_of_shards(tmp_path):
    log = random_log(tmp_path / "log")
    sequence = ItemSequence(entity="item", column="user", length=5)
    rows = [row(f"u{n % 40}", f"i{n % 13}", 9.0, n % 6) for n in range(300)]
    tables = [
        columns_of(
            state_of(
                tmp_path / f"state-{shards}",
                log,
                History(
                    entities=HISTORY.entities,
                    tasks=("click",),
                    window=Window(half_life=1.7),
                    sequences={"recent": RECENT, "users": sequence},
                    shards=shards,
                ),
            ),
            rows,
        )
        for shards in (1, 3, 16)
    ]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_units_are_counted_in_the_order_of_the_file_whatever_order_they_arrive_in(tmp_path):
    folder = span_folder(random_log(tmp_path / "log", spans=1), 0)
    from eventlog.parquet_files import read_table, write_table

    file = folder / "part-00000.parquet"
    write_table(read_table(file), file, row_group_size=64)
    state = state_of(tmp_path / "state", tmp_path / "log", WITH_ITEMS)
    build, again = plan_build(state, [1]), plan_build(state, [1])
    assert build is not None and again is not None
    assert len(build.units) == 4
    for one, units in ((build, build.units), (again, build.units[::-1])):
        counted = [(key, part) for unit in units for key, part in one.count_unit(unit)]
        for key in state.keys:
            one.write_shard(key, [part for own, part in counted if own == key])
    for entity, shard in state.keys:
        name = state.file(build.blocks[0], entity, shard).name
        one, other = (read_table(f"{attempt.attempt}/spans=0-0/{name}") for attempt in (build, again))
        assert one.equals(other)


def test_other_settings_have_another_state_but_the_strength_of_the_prior_does_not(tmp_path, log):
    changed = {
        "prior": dataclasses.replace(HISTORY, prior_strength=5.0),
        "tasks": dataclasses.replace(HISTORY, tasks=("click",)),
        "window": dataclasses.replace(HISTORY, window=Window(spans=2)),
        "entities": History(entities={"user": "user"}, tasks=HISTORY.tasks),
    }
    own = state_of(tmp_path, log).folder
    assert {name: state_of(tmp_path, log, history).folder == own for name, history in changed.items()} == {
        "prior": True, "tasks": False, "window": False, "entities": False,
    }  # fmt: skip
    assert COLUMNS.delays["back"] == 2
    assert HISTORY.fingerprint({"click": 0, "back": 2}) != HISTORY.fingerprint({"click": 0, "back": 3})
