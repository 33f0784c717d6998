from pathlib import Path

import pytest

from eventlog.errors import BadInput
from eventlog.tables.mapping import SpanSettings
from tests.eventlog.importing.tables import column, line, mapping, run, write_lines


def test_a_period_without_rows_is_refused_before_a_span_is_written(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, day) for day in (0, 2, 5)])
    message = (
        r"a period without rows: expected rows in every day, got none in 2024-03-02 and in 2 others\..*week"
    )
    with pytest.raises(BadInput, match=message):
        run(mapping(), source, tmp_path / "log")
    assert not (tmp_path / "log" / "span=0").exists()


def test_a_gap_between_the_log_and_the_source_is_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0)])
    run(mapping(), source, tmp_path / "log")
    write_lines(source, [line(1, 1, 4, 2)])
    with pytest.raises(BadInput, match="got none in 2024-03-02"):
        run(mapping(), source, tmp_path / "log")


def test_a_source_that_begins_before_the_log_is_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 1)])
    run(mapping(), source, tmp_path / "log")
    write_lines(source, [line(1, 1, 4, 0), line(1, 1, 4, 1)])
    with pytest.raises(BadInput, match=r"the source begins before the log: .* 2024-03-02 on, got 2024-03-01"):
        run(mapping(), source, tmp_path / "log")


def test_the_newest_period_may_be_left_out_while_it_is_filled(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, day) for day in (0, 1, 1.5)])
    spans = SpanSettings(by="day", newest="filling")
    written, report = run(mapping(spans=spans), source, tmp_path / "log")
    assert written == [0]
    assert report[-1] == "2024-03-02 is left out as the newest period: 2 rows"
    write_lines(source, [line(1, 1, 4, day) for day in (0, 1, 1.5, 1.7, 2)])
    assert run(mapping(spans=spans), source, tmp_path / "log")[0] == [1]
    assert len(column(tmp_path / "log", 1, "item")) == 3


def test_spans_by_another_date(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 20240301, 4, 0.5), line(1, 20240302, 4, 0.4)])
    spans = SpanSettings(by="day", value="strptime(item, '%Y%m%d')")
    assert run(mapping(spans=spans), source, tmp_path / "log")[0] == [0, 1]
    assert column(tmp_path / "log", 1, "item") == ["20240302"]


def test_spans_of_a_number_of_rows_leave_the_last_rows_for_later(tmp_path: Path) -> None:
    lines = [line(1, item, 4, item / 10) for item in range(7)]
    source = write_lines(tmp_path / "u.data", lines[::-1])
    settings = mapping(spans=SpanSettings(count=3))
    written, report = run(settings, source, tmp_path / "log")
    assert written == [0, 1]
    assert report[-1] == "1 rows wait until they fill a span of 3"
    assert column(tmp_path / "log", 1, "item") == ["3", "4", "5"]
    write_lines(source, [line(1, item, 4, item / 10) for item in range(10)])
    assert run(settings, source, tmp_path / "log")[0] == [2]
    assert column(tmp_path / "log", 2, "item") == ["6", "7", "8"]


def test_spans_of_a_number_of_rows_go_on_with_a_source_that_begins_later(tmp_path: Path) -> None:
    lines = [line(1, item, 4, item / 10) for item in range(9)]
    source = write_lines(tmp_path / "u.data", lines[:6])
    settings = mapping(spans=SpanSettings(count=3))
    run(settings, source, tmp_path / "log")
    write_lines(source, lines[5:])
    assert run(settings, source, tmp_path / "log")[0] == [2]
    assert column(tmp_path / "log", 2, "item") == ["6", "7", "8"]
    write_lines(source, [line(1, 9, 4, 1)])
    with pytest.raises(BadInput, match="the source lacks the last row of the log"):
        run(settings, source, tmp_path / "log")


def test_rows_that_come_too_late_for_spans_of_a_number_of_rows_are_reported(tmp_path: Path) -> None:
    lines = [line(1, item, 4, item / 10) for item in range(8)]
    source = write_lines(tmp_path / "u.data", lines)
    settings = mapping(spans=SpanSettings(count=3))
    assert run(settings, source, tmp_path / "log")[0] == [0, 1]
    late = [line(2, "late", 4, 0.05), line(2, "later", 4, 0.15)]
    write_lines(source, [*lines, *late, line(1, 8, 4, 0.8)])
    written, report = run(settings, source, tmp_path / "log")
    assert written == [2]
    assert "2 rows are left out: they are earlier than the log's last row, and the log lacks them" in report
    assert column(tmp_path / "log", 2, "item") == ["6", "7", "8"]
