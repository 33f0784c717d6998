"""The history through Beam: the state, the lookup and the encoded examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from components.history.lookup import add_history, complete_here, open_lookup
from components.history.settings import History
from components.history.state import HistoryState, plan_build
from components.transforms import history_beam
from components.transforms.collecting import run_and_collect
from components.transforms.encode_events import EncodeEvents, RowRange, _EncodeRows, _Rows
from components.transforms.history_beam import BuildHistory, complete_history
from components.transforms.shards import SPLITS, read_shards, split_files
from eventlog.parquet_files import read_table
from tests.components.history.small_log import COLUMNS, HISTORY, RECENT, SPANS, state_of, table_of, write_log

BEAM = ["--runner=FnApiRunner"]
WITH_ITEMS = dataclasses.replace(HISTORY, sequences={"recent": RECENT})


@pytest.fixture(params=["beam", "one process"], autouse=True)
def small_bytes(request, monkeypatch):
    """Each test runs twice: all work counts as large, then all as small."""
    monkeypatch.setattr(history_beam, "SMALL_BYTES", -1 if request.param == "beam" else 2**40)


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log")


def run(transform: beam.PTransform, folder: Path) -> list[Any]:
    return run_and_collect(lambda pipeline: pipeline | transform, BEAM, str(folder / "scratch"))


def completed(folder: Path, log: Path, spans: list[int], history: History = WITH_ITEMS):
    return complete_history(
        state_of(folder / "state", log, history), spans, lambda transform: run(transform, folder)
    )


def encoded(folder: Path, log: Path, span: int, history: History = WITH_ITEMS, **settings: Any) -> pa.Table:
    """The encoded examples of a span, sorted by id and impression span."""
    lookup = completed(folder, log, [span - 2, span], history)
    encode = EncodeEvents(str(log), COLUMNS, span, str(folder / "examples"), history=lookup, **settings)
    run(encode, folder)
    schema = pa.schema([*COLUMNS.schema, *history.produced])
    files = [file for split in SPLITS for file in split_files(str(folder / "examples"), split)]
    table = pa.Table.from_batches(read_shards(files, 100, schema), schema=schema)
    return table.sort_by([("impression_span", "ascending"), ("example_id", "ascending")])


def test_beam_computes_the_same_files_as_one_process(tmp_path, log):
    with_beam = completed(tmp_path / "beam", log, [3]).state
    here = complete_here(state_of(tmp_path / "here" / "state", log, WITH_ITEMS), [3]).state
    names = [str(file.relative_to(here.folder)) for file in Path(here.folder).glob("spans=*/*")]
    assert len(names) == 4 * 9
    for name in names:
        one, other = (read_table(f"{state.folder}/{name}") for state in (with_beam, here))
        assert one.equals(other)


def test_a_complete_state_needs_no_beam(tmp_path, log):
    completed(tmp_path, log, [3])

    def refuse(transform: beam.PTransform) -> list[Any]:
        raise AssertionError(transform)

    assert complete_history(state_of(tmp_path / "state", log, WITH_ITEMS), [3], refuse).priors == {
        3: (1 / 2, 2 / 3)
    }


def test_encoded_rows_have_the_history_of_their_impressions(tmp_path, log):
    lookup = open_lookup(completed(tmp_path / "expected", log, [1, 3]).state, [1, 3])
    expected = add_history(lookup, table_of(SPANS[3]))
    expected = expected.sort_by([("impression_span", "ascending"), ("example_id", "ascending")])
    table = encoded(tmp_path, log, 3)
    assert table["sequence_recent"].to_pylist() == [["b", "a"], ["a", "b"], None]
    assert table.equals(expected.cast(table.schema))


@pytest.mark.parametrize(("rows_per_shard", "shards"), [(1, 1), (2, 5)])
def test_row_ranges_and_shards_change_no_bit(tmp_path, log, rows_per_shard, shards):
    expected = encoded(tmp_path / "expected", log, 3)
    history = dataclasses.replace(WITH_ITEMS, shards=shards)
    assert encoded(tmp_path / "other", log, 3, history, rows_per_shard=rows_per_shard).equals(expected)


def test_labels_of_the_own_span_change_no_column_of_the_history(tmp_path, log):
    flipped = [
        one | {"label_click": 1 - one["label_click"]} if "label_click" in one else one for one in SPANS[3]
    ]
    other = write_log(tmp_path / "flipped", [*SPANS[:3], flipped])
    names = WITH_ITEMS.produced.names
    before, after = encoded(tmp_path / "one", log, 3), encoded(tmp_path / "two", other, 3)
    assert before.select(names).equals(after.select(names))
    assert not before["label_click"].equals(after["label_click"])


def test_only_the_rows_of_the_surface_are_encoded_but_all_surfaces_count(tmp_path):
    elsewhere = [[one | {"surface": "elsewhere"} for one in rows] for rows in SPANS[:3]]
    log = write_log(tmp_path / "log", [*elsewhere, SPANS[3]])
    table = encoded(tmp_path, log, 3, surface="home")
    assert table.num_rows == 3
    assert (
        table["history_user_count"].to_pylist()
        == encoded(tmp_path / "all", log, 3)["history_user_count"].to_pylist()
    )
    assert encoded(tmp_path / "none", log, 2, surface="home").num_rows == 0


def test_large_work_goes_through_beam_and_small_work_does_not(tmp_path, log, small_bytes, monkeypatch):
    transforms = []

    def note(transform):
        transforms.append(type(transform))
        return run(transform, tmp_path)

    state = state_of(tmp_path / "state", log, WITH_ITEMS)
    build = plan_build(state, [3])
    assert build is not None
    size = sum((log / f"span={span}" / "part-00000.parquet").stat().st_size for span in range(3))
    assert build.num_bytes() == size
    monkeypatch.setattr(history_beam, "SMALL_BYTES", size)
    complete_history(state, [3], note)
    assert transforms == []
    monkeypatch.setattr(history_beam, "SMALL_BYTES", size - 1)
    complete_history(state_of(tmp_path / "other", log, WITH_ITEMS), [3], note)
    assert transforms == [BuildHistory]


def test_a_lost_answer_is_noticed(tmp_path, log):
    encode = EncodeEvents(str(log), COLUMNS, 3, "", history=completed(tmp_path, log, [1, 3]))
    rows = _Rows(3, COLUMNS, None, ("user", "item"))
    row_range = RowRange(shard=0, file="f", first_row=0, num_rows=3)
    sides = {"range": [row_range], "asked": [2], "answers": [((3, "user", 0), pa.table({"id": ["u"]}))]}
    with pytest.raises(RuntimeError, match=r"span 3, shard 0: expected 2 answers of the history, got 1"):
        _EncodeRows(encode, rows, 1).process_with_history(0, sides)


def lossy(state: HistoryState, folder: Path) -> None:
    class Lossy(BuildHistory):
        def _count_unit(self, unit):
            for element in super()._count_unit(unit):
                if isinstance(element, beam.pvalue.TaggedOutput) or element[0] != ("_rows", 0):
                    yield element

    build = plan_build(state, [3])
    assert build is not None
    complete_history(state, [3], lambda transform: run(Lossy(build), folder))


def test_a_runner_that_loses_work_is_noticed(tmp_path, log, monkeypatch):
    monkeypatch.setattr(history_beam, "SMALL_BYTES", -1)
    with pytest.raises(
        RuntimeError, match=r"expected 13 ids in its shards, got 10\. The Beam runner has lost"
    ):
        lossy(state_of(tmp_path / "state", log, WITH_ITEMS), tmp_path)
