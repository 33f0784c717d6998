import pytest

from components.span_records import (
    BURN_IN,
    SpanRecord,
    newest_before,
    read_record,
    recorded_spans,
    write_record,
)
from eventlog.errors import BadInput


def test_a_record_reads_back_as_written(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={"student": "/models/7"}))

    assert read_record(str(tmp_path), "tab_1", 4) == SpanRecord(span=4, slots={"student": "/models/7"})
    assert recorded_spans(str(tmp_path), "tab_1") == [4]


def test_a_half_written_record_is_not_listed(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={"student": "/models/7"}))
    (tmp_path / "tab_1" / "span-00005.json.3f2a").write_text("{")

    assert recorded_spans(str(tmp_path), "tab_1") == [4]


def test_the_newest_earlier_span_wins_and_later_ones_do_not_count(tmp_path):
    for span in (4, 3, 12, 11, 5):
        write_record(str(tmp_path), "teacher", SpanRecord(span=span, slots={"teacher": f"/models/{span}"}))

    assert recorded_spans(str(tmp_path), "teacher") == [3, 4, 5, 11, 12]
    assert newest_before(str(tmp_path), "teacher", 5, "teacher") == "/models/4"


def test_the_bootstrap_stands_in_for_a_branch_without_the_slot(tmp_path):
    write_record(str(tmp_path), BURN_IN, SpanRecord(span=2, slots={"transform_graph": "/graph"}))
    write_record(str(tmp_path), "tab_1", SpanRecord(span=3, slots={"student": "/models/3"}))

    assert newest_before(str(tmp_path), "tab_1", 4, "transform_graph") == "/graph"
    assert newest_before(str(tmp_path), "tab_1", 4, "student") == "/models/3"
    assert newest_before(str(tmp_path), "tab_0", 4, "student") is None


def test_a_branch_goes_by_its_own_record_as_soon_as_it_has_one(tmp_path):
    write_record(str(tmp_path), BURN_IN, SpanRecord(span=2, slots={"teacher": "/models/2"}))
    write_record(str(tmp_path), "teacher", SpanRecord(span=3, slots={"teacher": "/models/3"}))

    assert newest_before(str(tmp_path), "teacher", 3, "teacher") == "/models/2"
    assert newest_before(str(tmp_path), "teacher", 4, "teacher") == "/models/3"


def test_a_broken_record_is_refused_with_what_to_do(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={}))
    (tmp_path / "tab_1" / "span-00004.json").write_text("{")

    with pytest.raises(BadInput, match=r"span-00004.json: unreadable span record.*Restore the file"):
        read_record(str(tmp_path), "tab_1", 4)


def test_a_skipped_span_is_recorded_and_hands_nothing_on(tmp_path):
    write_record(str(tmp_path), "teacher", SpanRecord(span=3, slots={"teacher": "/models/3"}))
    write_record(str(tmp_path), "teacher", SpanRecord(span=4, version=2, skipped="late"))

    assert recorded_spans(str(tmp_path), "teacher") == [3, 4]
    assert read_record(str(tmp_path), "teacher", 4).skipped == "late"
    assert newest_before(str(tmp_path), "teacher", 5, "teacher") == "/models/3"
