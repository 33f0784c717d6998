import math
from pathlib import Path

import pytest

from eventlog.errors import BadInput
from eventlog.tables.mapping import LabelSettings, Window
from tests.eventlog.importing.tables import column, line, mapping, read, run, write_lines

LIKED = LabelSettings(value="rating >= 1")


def test_a_window_has_the_rows_of_the_same_key_in_the_next_spans(tmp_path: Path) -> None:
    # User 1 rates 3 on day 1, and 4 and -1 on day 2; user 2 rates nothing later; days 0 and 3 do not count.
    lines = [
        line(1, "a", 5, 0),
        line(2, "a", 5, 0.1),
        line(1, "b", 3, 1),
        line(1, "c", 4, 2),
        line(1, "d", -1, 2.1),
    ]
    lines += [line(1, "e", 7, 3), line(3, "f", 2, 3.1)]
    total = "ln(1 + coalesce(sum(rating) FILTER (WHERE rating >= 0), 0))"
    labels = {"liked": LIKED, "sum": LabelSettings(value=total, over=Window(spans=2, per="user"))}
    run(mapping(labels=labels), write_lines(tmp_path / "u.data", lines), tmp_path / "log")
    log = tmp_path / "log"
    assert [column(log, span, "label_sum") for span in range(3)] == [[None] * 2, [None], [None] * 2]
    matured = [row for row in read(log, 3) if row["impression_span"] == 0]
    assert [row["label_sum"] for row in matured] == [pytest.approx(math.log(1 + 3 + 4)), 0.0]
    assert len(read(log, 3)) == 4


def test_two_windows_of_one_length_share_their_matured_rows(tmp_path: Path) -> None:
    lines = [line(1, "a", 5, 0), line(2, "a", 4, 0.1), line(1, "a", 3, 1), line(2, "b", 2, 1.1)]
    labels = {
        "liked": LIKED,
        "count": LabelSettings(value="count(*)", over=Window(spans=1, per="user")),
        "mean": LabelSettings(value="avg(source.rating)", over=Window(spans=1, per="item")),
        "late": LabelSettings(value="rating", delay=2),
    }
    lines += [line(1, "z", 1, 2)]
    run(mapping(labels=labels), write_lines(tmp_path / "u.data", lines), tmp_path / "log")
    matured = [row for row in read(tmp_path / "log", 2) if row["impression_span"] == 0]
    found = [(row["label_count"], row["label_mean"], row["label_late"]) for row in matured]
    assert found == [(1.0, 3.0, 5.0), (1.0, 3.0, 4.0)]


def test_a_null_key_has_no_label(tmp_path: Path) -> None:
    lines = [line(1, "a", 5, 0), line(2, "", 5, 0), line(1, "a", 3, 1), line(1, "", 3, 1), line(3, "c", 3, 2)]
    labels = {"liked": LIKED, "sum": LabelSettings(value="sum(rating)", over=Window(spans=1, per="item"))}
    settings = mapping(labels=labels, example_id=("user", "seconds"), features={}, duplicates="number")
    run(settings, write_lines(tmp_path / "u.data", lines), tmp_path / "log")
    matured = [row for row in read(tmp_path / "log", 2) if row["impression_span"] == 0]
    assert [(row["cluster_id"], row["label_sum"]) for row in matured] == [("1", 3.0)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("ln(sum(rating) - 5)", "logarithm of zero"),
        ("CAST(max(item) AS DOUBLE)", "Could not convert string 'a'"),
    ],
)
def test_a_label_that_cannot_be_computed_is_one_line(tmp_path: Path, value: str, reason: str) -> None:
    lines = [line(1, "a", 5, day) for day in range(3)]
    labels = {"liked": LIKED, "sum": LabelSettings(value=value, over=Window(spans=1, per="user"))}
    with pytest.raises(BadInput, match=rf"labels\.sum: a label cannot be computed: .* {reason}"):
        run(mapping(labels=labels), write_lines(tmp_path / "u.data", lines), tmp_path / "log")
