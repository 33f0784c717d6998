from pathlib import Path
from typing import Any

import pytest

from eventlog.errors import BadInput
from eventlog.tables.mapping import FileSettings, LabelSettings, SpanSettings, TimeSettings
from tests.eventlog.importing.tables import MIDNIGHT, column, mapping, milliseconds, run, write_lines

DAY_MS = 86_400_000


def times(tmp_path: Path, texts: list[str], kind: Any = "text", **changes: Any) -> list[int]:
    """The times of a table with the column `t`, in order."""
    source = write_lines(tmp_path / "t.csv", ["n;z;t", *(f"{n};z;{text}" for n, text in enumerate(texts))])
    settings = {
        "source": FileSettings(delimiter=";", columns={"t": kind, "n": "integer"}), "cluster": "n",
        "example_id": ("n",), "labels": {"l": LabelSettings(value="n")}, "features": {},
        "spans": SpanSettings(count=len(texts)), "max_dropped": 1.0,
    }  # fmt: skip
    log = tmp_path / "log"
    run(mapping(**(settings | changes)), source, log)
    return column(log, 0, "event_time_ms")


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("s", str(MIDNIGHT), MIDNIGHT * 1000),
        ("ms", f"{MIDNIGHT}123", MIDNIGHT * 1000 + 123),
        ("us", f"{MIDNIGHT}123999", MIDNIGHT * 1000 + 123),
        ("ns", f"{MIDNIGHT}123999999", MIDNIGHT * 1000 + 123),
    ],
)
def test_a_number_has_a_unit(tmp_path: Path, unit: Any, text: str, expected: int) -> None:
    assert times(tmp_path, [text], "integer", time=TimeSettings(value="t", unit=unit)) == [expected]


def test_seconds_may_have_decimals(tmp_path: Path) -> None:
    found = times(tmp_path, [f"{MIDNIGHT}.123"], "number", time=TimeSettings(value="t", unit="s"))
    assert found == [MIDNIGHT * 1000 + 123]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-05 12:00:00", "2024-03-05T12:00:00+01:00"),
        ("2024-07-05T12:00:00", "2024-07-05T12:00:00+02:00"),
        ("2024-07-05", "2024-07-05T00:00:00+02:00"),
        ("2024-07-05T12:00:00Z", "2024-07-05T12:00:00+00:00"),
        ("2024-07-05 12:00:00.5-05:00", "2024-07-05T12:00:00.500000-05:00"),
        # Of an hour that occurs twice, the second is meant.
        ("2024-10-27 02:30:00", "2024-10-27T02:30:00+01:00"),
    ],
)
def test_a_text_without_an_offset_is_in_the_zone(tmp_path: Path, text: str, expected: str) -> None:
    found = times(tmp_path, [text], time=TimeSettings(value="t", zone="Europe/Berlin"))
    assert found == [milliseconds(expected)]


def test_a_text_has_a_format(tmp_path: Path) -> None:
    settings = TimeSettings(value="t", zone="Europe/Berlin", format="%d.%m.%Y %H:%M")
    assert times(tmp_path, ["05.03.2024 12:00"], time=settings) == [milliseconds("2024-03-05T12:00:00+01:00")]


def test_a_format_may_have_an_offset(tmp_path: Path) -> None:
    settings = TimeSettings(value="t", format="%d.%m.%Y %H:%M %z")
    assert times(tmp_path, ["05.03.2024 12:00 -05"], time=settings) == [
        milliseconds("2024-03-05T12:00:00-05:00")
    ]


def test_each_row_may_have_its_own_zone(tmp_path: Path) -> None:
    zone = "CASE n WHEN 0 THEN 'Europe/Berlin' WHEN 1 THEN 'America/New_York' ELSE 'Mars/Olympus' END"
    found = times(tmp_path, ["2024-03-05 12:00:00"] * 3, time=TimeSettings(value="t", zone=zone),
                  spans=SpanSettings(by="day"))  # fmt: skip
    assert found == [milliseconds("2024-03-05T12:00:00+01:00"), milliseconds("2024-03-05T12:00:00-05:00")]


def test_a_time_that_does_not_exist_or_cannot_be_read_is_dropped(tmp_path: Path) -> None:
    texts = [
        "2024-03-31 02:30:00",
        "2024-03-31 03:00:00",
        "soon",
        "",
        "1989-12-31 00:00:00",
        "2100-01-02 00:00:00",
    ]
    found = times(
        tmp_path, texts, time=TimeSettings(value="t", zone="Europe/Berlin"), spans=SpanSettings(by="day")
    )
    assert found == [milliseconds("2024-03-31T03:00:00+02:00")]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("text", TimeSettings(value="t", unit="s"), "expected a number, because `unit` is set, got VARCHAR"),
        ("integer", TimeSettings(value="t"), r"got BIGINT\. Set `time\.unit`"),
        ("text", TimeSettings(value="CAST(t AS TIMESTAMP)"), r"got TIMESTAMP\. Set `time\.zone`"),
        ("integer", TimeSettings(value="t", format="%Y"), "a text, because `format` is set, got BIGINT"),
        ("text", TimeSettings(value="t", zone="Europe/Berln"), "time.zone: unknown zone: .* 'Europe/Berln'"),
    ],
)
def test_a_setting_that_does_not_fit_the_type_is_refused(
    tmp_path: Path, kind: Any, settings: TimeSettings, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        times(tmp_path, ["2024"], kind, time=settings)


def spans_of(tmp_path: Path, seconds: list[int], spans: SpanSettings) -> list[list[int]]:
    source = write_lines(tmp_path / "u.data", [f"1\t{n}\t4\t{time}" for n, time in enumerate(seconds)])
    written, _ = run(mapping(spans=spans), source, tmp_path / "log")
    return [[int(item) for item in column(tmp_path / "log", span, "item")] for span in written]


def test_a_day_begins_at_midnight_of_its_zone(tmp_path: Path) -> None:
    # 23:30 and 00:30 in Berlin, which is 22:30 and 23:30 in UTC.
    seconds = [MIDNIGHT - 5400, MIDNIGHT - 1800]
    assert spans_of(tmp_path / "zone", seconds, SpanSettings(by="day", zone="Europe/Berlin")) == [[0], [1]]
    assert spans_of(tmp_path / "utc", seconds, SpanSettings(by="day")) == [[0, 1]]


def test_a_day_with_23_hours_is_one_span(tmp_path: Path) -> None:
    start = milliseconds("2024-03-31T00:00:00+01:00") // 1000
    seconds = [start - 1, start, start + 23 * 3600 - 1, start + 23 * 3600]
    assert spans_of(tmp_path, seconds, SpanSettings(by="day", zone="Europe/Berlin")) == [[0], [1, 2], [3]]


def test_a_week_begins_on_monday(tmp_path: Path) -> None:
    # The first day is a Friday.
    seconds = [MIDNIGHT, MIDNIGHT + 3 * 86_400 - 1, MIDNIGHT + 3 * 86_400, MIDNIGHT + 10 * 86_400]
    assert spans_of(tmp_path, seconds, SpanSettings(by="week")) == [[0, 1], [2], [3]]


def test_an_hour_is_an_hour_of_utc(tmp_path: Path) -> None:
    seconds = [MIDNIGHT + 3599, MIDNIGHT + 3600]
    assert spans_of(tmp_path, seconds, SpanSettings(by="hour")) == [[0], [1]]
