from pathlib import Path

import pytest

from components.span_records import TEACHER, write_record
from eventlog.errors import BadInput
from pipeline.config import load
from pipeline.loop import due_spans
from pipeline.place import Place

AVAILABLE = list(range(10))


@pytest.fixture
def deployment():
    return load(Path(__file__).parents[2] / "pipeline" / "configs" / "demo.yaml")


@pytest.fixture
def place(tmp_path):
    return Place(root=tmp_path / "root", events=tmp_path / "events")


def finish(place, span, branches):
    for branch in branches:
        write_record(place.records, branch, span, {})


def test_the_first_due_span_follows_the_burn_in(deployment, place):
    assert due_spans(deployment, place, AVAILABLE, None) == [5, 6, 7, 8, 9]


def test_a_finished_span_is_not_due_again(deployment, place):
    finish(place, 5, [TEACHER, *deployment.surfaces])

    assert due_spans(deployment, place, AVAILABLE, None) == [6, 7, 8, 9]


@pytest.mark.parametrize("lacking", [TEACHER, "tab_4"])
def test_a_span_that_lacks_one_branch_is_due_again(deployment, place, lacking):
    finish(place, 5, {TEACHER, *deployment.surfaces} - {lacking})

    assert due_spans(deployment, place, AVAILABLE, None)[0] == 5


def test_a_wanted_range_ends_where_it_says_and_skips_what_is_done(deployment, place):
    finish(place, 5, [TEACHER, *deployment.surfaces])

    assert due_spans(deployment, place, AVAILABLE, range(5, 8)) == [6, 7]


def test_a_range_that_would_leave_a_gap_is_refused(deployment, place):
    with pytest.raises(BadInput, match=r"--spans 6:7: span gap: expected a range from span 5 .*, got 6"):
        due_spans(deployment, place, AVAILABLE, range(6, 8))


def test_a_range_beyond_the_log_is_refused(deployment, place):
    with pytest.raises(BadInput, match=r"needs span 10: expected spans 8 to 10, got spans 0 to 9"):
        due_spans(deployment, place, AVAILABLE, range(8, 11))
