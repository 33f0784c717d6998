from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog import spans
from eventlog.errors import BadInput
from eventlog.kuairand.columns import LOG_SCHEMA


def table_with(ids: list[str]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "example_id": example_id,
                "event_time_ms": time_ms,
                "impression_span": 0,
                "surface": "a",
                "cluster_id": "u",
            }
            for time_ms, example_id in enumerate(ids)
        ],
        schema=LOG_SCHEMA,
    )


def test_a_span_is_read_in_the_schema_and_order_of_writing(tmp_path: Path) -> None:
    assert spans.write_span(tmp_path / "log", 0, [table_with(["a", "b"]), table_with(["c"])]) == 3
    (file,) = spans.span_files(tmp_path / "log", 0)
    read = pq.read_table(file, partitioning=None)
    assert read.schema.equals(LOG_SCHEMA)
    assert read["example_id"].to_pylist() == ["a", "b", "c"]


def test_columns_are_reordered_and_cast_to_the_schema(tmp_path: Path) -> None:
    table = table_with(["a"])
    shuffled = table.select(table.column_names[::-1])
    position = shuffled.column_names.index("hour")
    hours = pa.array([5], pa.int32())
    spans.write_span(tmp_path, 0, [shuffled.set_column(position, "hour", hours)], schema=LOG_SCHEMA)
    read = pq.read_table(spans.span_files(tmp_path, 0)[0], partitioning=None)
    assert read.schema.equals(LOG_SCHEMA)
    assert read["hour"].to_pylist() == [5]


def test_large_spans_are_split_into_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "PART_ROWS", 2)
    spans.write_span(tmp_path, 0, [table_with(["a", "b"]), table_with(["c"])])
    files = spans.span_files(tmp_path, 0)
    assert [file.name for file in files] == ["part-00000.parquet", "part-00001.parquet"]
    assert [pq.read_table(file, partitioning=None)["example_id"].to_pylist() for file in files] == [
        ["a", "b"],
        ["c"],
    ]


def test_a_failed_writer_leaves_nothing_visible_to_readers(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])

    def failing() -> Iterator[pa.Table]:
        yield table_with(["b"])
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        spans.write_span(tmp_path, 1, failing())
    assert [entry.name for entry in tmp_path.iterdir()] == ["span=0"]
    assert spans.complete_spans(tmp_path) == [0]


def test_a_complete_span_cannot_be_rewritten(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    with pytest.raises(ValueError, match=r"span 0 of .* is already complete"):
        spans.write_span(tmp_path, 0, [table_with(["b"])])


def test_a_span_without_success_marker_is_not_listed_and_can_be_written_again(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    spans.write_span(tmp_path, 1, [table_with(["b"])])
    (tmp_path / "span=1" / "_SUCCESS").unlink()
    assert spans.complete_spans(tmp_path) == [0]
    spans.write_span(tmp_path, 1, [table_with(["c"])])
    assert pq.read_table(spans.span_files(tmp_path, 1)[0], partitioning=None)["example_id"].to_pylist() == [
        "c"
    ]


def test_files_of_others_are_not_deleted_with_an_incomplete_span(tmp_path: Path) -> None:
    foreign = tmp_path / "span=0" / "notes.txt"
    foreign.parent.mkdir()
    foreign.touch()
    with pytest.raises(BadInput, match=r"span=0: a folder with other files: .* got notes\.txt"):
        spans.write_span(tmp_path, 0, [table_with(["a"])])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["notes.txt", "span=0"]


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got one without \['hour'\]"):
        spans.write_span(tmp_path, 0, [table_with(["a"]), table_with(["b"]).drop(["hour"])])


def test_other_folders_of_the_log_are_not_listed_as_spans(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    (tmp_path / "_truth" / "span=0").mkdir(parents=True)
    (tmp_path / "span=x").mkdir()
    assert spans.complete_spans(tmp_path) == [0]


def test_spans_are_listed_by_number_not_by_name(tmp_path: Path) -> None:
    for span in range(11):
        spans.write_span(tmp_path, span, [table_with(["a"])])
    assert spans.complete_spans(tmp_path) == list(range(11))


def test_a_gap_between_spans_is_refused(tmp_path: Path) -> None:
    for span in (0, 1, 3):
        spans.write_span(tmp_path, span, [table_with(["a"])])
    with pytest.raises(BadInput, match="span gap: expected every span from 0 to 3, got no complete span 2"):
        spans.complete_spans(tmp_path)


def test_a_missing_log_and_an_empty_log_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no event log: .* got no such folder"):
        spans.complete_spans(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="empty event log"):
        spans.complete_spans(tmp_path)


def test_a_missing_span_is_refused(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    with pytest.raises(
        BadInput, match="missing span: expected one of the 1 complete spans, up to 0, got span 4"
    ):
        spans.span_files(tmp_path, 4)


def test_a_span_folder_without_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "span=0").mkdir()
    (tmp_path / "span=0" / "_SUCCESS").touch()
    with pytest.raises(BadInput, match="empty span: expected files part"):
        spans.span_files(tmp_path, 0)


def test_ranges_include_both_ends() -> None:
    assert list(spans.parse_range("3:5")) == [3, 4, 5]
    assert list(spans.parse_range("0:0")) == [0]


@pytest.mark.parametrize("text", ["", "3", "5:3", "-1:2", "a:b", "1:2:3", "1:", "0:9999999"])
def test_malformed_ranges_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a range of spans"):
        spans.parse_range(text)


def test_a_revised_span_is_a_new_version_beside_the_old_one(tmp_path: Path) -> None:
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    spans.write_span(tmp_path, 0, [table_with(["b"])], version=1)
    spans.write_span(tmp_path, 0, [table_with(["c"])], version=10)
    (tmp_path / "span=0-v11").mkdir()
    assert spans.span_versions(tmp_path) == {0: 10}
    assert pq.read_table(spans.span_files(tmp_path, 0)[0], partitioning=None)["example_id"].to_pylist() == [
        "c"
    ]
    assert pq.read_table(spans.span_files(tmp_path, 0, 0)[0], partitioning=None)[
        "example_id"
    ].to_pylist() == ["a"]
    assert spans.complete_spans(tmp_path) == [0]


def test_span_versions_allow_a_gap_between_spans(tmp_path: Path) -> None:
    for span in (3, 0):
        spans.write_span(tmp_path, span, [table_with(["a"])])
    assert list(spans.span_versions(tmp_path).items()) == [(0, 0), (3, 0)]


def test_writing_a_span_deletes_partial_folders_of_killed_writers(tmp_path: Path) -> None:
    (tmp_path / ".span=0.3f2a").mkdir(parents=True)
    (tmp_path / ".span=00.3f2a").mkdir()
    spans.write_span(tmp_path, 0, [table_with(["a"])])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".span=00.3f2a", "span=0"]
