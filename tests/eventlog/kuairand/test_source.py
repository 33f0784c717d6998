"""Faulty CSV files of KuaiRand's layout."""

import gzip
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.kuairand.adapter import write_kuairand
from tests.eventlog.kuairand.test_adapter import convert, impression, read_span, write_source


@pytest.mark.parametrize("name", ["day", "ordinal", "TAG"])
def test_a_log_file_with_a_column_that_the_adapter_adds_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        BadInput, match=f"log file with a column {name}: expected the columns of the official"
    ):
        convert(tmp_path, [impression(1, 7, 0) | {name: "x"}])


def test_feature_files_without_rows_leave_the_features_null(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    users = source / "user_features_pure.csv"
    users.write_text(users.read_text().splitlines()[0] + "\n")
    write_kuairand(source, tmp_path / "log")
    (row,) = read_span(tmp_path / "log", 0)
    assert (row["user_active_degree"], row["user_traits"], row["upload_type"]) == (None, None, "Web")


def test_rows_that_do_not_fit_their_header_are_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    (source / "video_features_basic_pure.csv").write_text(
        "video_id,author_id,upload_dt,upload_type,tag\n7,90\n"
    )
    with pytest.raises(
        BadInput, match="unreadable KuaiRand files: expected CSV files of the official release"
    ):
        write_kuairand(source, tmp_path / "log")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    content = gzip.compress((source / "user_features_pure.csv").read_bytes(), mtime=0)
    (source / "user_features_pure.csv").unlink()
    (source / "user_features_pure.csv.gz").write_bytes(content[:12] + b"\x00" + content[13:])
    with pytest.raises(BadInput, match=r"user_features_pure\.csv\.gz: unreadable file: expected CSV"):
        write_kuairand(source, tmp_path / "log")


@pytest.mark.parametrize("content", ['{"source": "kuairand", "first_date": "9999-12-31"}', "[" * 5000])
def test_a_damaged_record_of_the_log_is_refused(tmp_path: Path, content: str) -> None:
    convert(tmp_path, [impression(1, 7, 0)])
    (tmp_path / "log" / "_log.json").write_text(content)
    with pytest.raises(
        BadInput, match=r"not a log of KuaiRand: expected a new folder, or a log with _log\.json"
    ):
        write_kuairand(tmp_path / "source", tmp_path / "log")


def test_a_damaged_history_is_refused(tmp_path: Path) -> None:
    convert(tmp_path, [impression(1, 7, 0)])
    file = tmp_path / "log" / "_history" / "history.parquet"
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.filter(pc.not_equal(table["entity"], "everything")), file)
    with pytest.raises(
        BadInput, match="damaged history state: expected the number of a span, one row with entity everything"
    ):
        write_kuairand(tmp_path / "source", tmp_path / "log")
