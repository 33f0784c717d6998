import pytest

from components.span_records import (
    BURN_IN,
    SpanRecord,
    newest_before,
    read_record,
    recorded_spans,
    surface_burn_in,
    write_record,
)
from eventlog.errors import BadInput


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={"student": "/models/7"}))

    assert read_record(str(tmp_path), "tab_1", 4) == SpanRecord(span=4, slots={"student": "/models/7"})
    assert recorded_spans(str(tmp_path), "tab_1") == [4]


def test_a_partial_record_is_not_listed(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={"student": "/models/7"}))
    (tmp_path / "tab_1" / "span-00005.json.3f2a").write_text("{")

    assert recorded_spans(str(tmp_path), "tab_1") == [4]


def test_the_newest_earlier_span_is_used(tmp_path):
    for span in (4, 3, 12, 11, 5):
        write_record(str(tmp_path), "teacher", SpanRecord(span=span, slots={"teacher": f"/models/{span}"}))

    assert recorded_spans(str(tmp_path), "teacher") == [3, 4, 5, 11, 12]
    assert newest_before(str(tmp_path), "teacher", 5, "teacher") == "/models/4"


def test_the_burn_in_is_used_for_a_slot_that_the_branch_lacks(tmp_path):
    write_record(str(tmp_path), BURN_IN, SpanRecord(span=2, slots={"transform_graph": "/graph"}))
    write_record(str(tmp_path), "tab_1", SpanRecord(span=3, slots={"student": "/models/3"}))

    assert newest_before(str(tmp_path), "tab_1", 4, "transform_graph") == "/graph"
    assert newest_before(str(tmp_path), "tab_1", 4, "student") == "/models/3"
    assert newest_before(str(tmp_path), "tab_0", 4, "student") is None


def test_a_record_of_the_branch_is_used_before_that_of_the_burn_in(tmp_path):
    write_record(str(tmp_path), BURN_IN, SpanRecord(span=2, slots={"teacher": "/models/2"}))
    write_record(str(tmp_path), "teacher", SpanRecord(span=3, slots={"teacher": "/models/3"}))

    assert newest_before(str(tmp_path), "teacher", 3, "teacher") == "/models/2"
    assert newest_before(str(tmp_path), "teacher", 4, "teacher") == "/models/3"


def test_a_surfaces_burn_in_is_used_after_its_records_and_before_the_teachers_burn_in(tmp_path):
    write_record(str(tmp_path), BURN_IN, SpanRecord(span=2, slots={"student": "/no", "teacher": "/teacher"}))
    write_record(str(tmp_path), surface_burn_in("tab_1"), SpanRecord(span=2, slots={"student": "/burned-in"}))

    assert newest_before(str(tmp_path), "tab_1", 3, "student") == "/burned-in"
    assert newest_before(str(tmp_path), "tab_1", 2, "student") is None
    assert newest_before(str(tmp_path), "tab_1", 3, "teacher") == "/teacher"
    write_record(str(tmp_path), "tab_1", SpanRecord(span=3, slots={"student": "/models/3"}))
    assert newest_before(str(tmp_path), "tab_1", 4, "student") == "/models/3"


def test_an_unreadable_record_is_refused(tmp_path):
    write_record(str(tmp_path), "tab_1", SpanRecord(span=4, slots={}))
    (tmp_path / "tab_1" / "span-00004.json").write_text("{")

    with pytest.raises(BadInput, match=r"span-00004.json: unreadable span record.*Restore the file"):
        read_record(str(tmp_path), "tab_1", 4)


def test_a_skipped_span_is_recorded_without_slots(tmp_path):
    write_record(str(tmp_path), "teacher", SpanRecord(span=3, slots={"teacher": "/models/3"}))
    write_record(str(tmp_path), "teacher", SpanRecord(span=4, version=2, skipped="late"))

    assert recorded_spans(str(tmp_path), "teacher") == [3, 4]
    assert read_record(str(tmp_path), "teacher", 4).skipped == "late"
    assert newest_before(str(tmp_path), "teacher", 5, "teacher") == "/models/3"
