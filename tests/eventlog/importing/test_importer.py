import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eventlog.checks import check_span
from eventlog.errors import BadInput
from eventlog.importing import importer
from eventlog.importing.importer import log_columns
from eventlog.importing.workspace import workspace
from eventlog.own_columns import own_columns
from eventlog.spans import complete_spans, span_files
from eventlog.tables.mapping import (
    FeatureSettings,
    FileSettings,
    LabelSettings,
    NullSettings,
    SideTable,
    SpanSettings,
)
from tests.conftest import REPOSITORY
from tests.eventlog.importing.tables import (
    COLUMNS,
    MIDNIGHT,
    column,
    line,
    mapping,
    read,
    run,
    write_lines,
)


def content(log: Path) -> dict[str, Any]:
    return {str(span): read(log, span) for span in complete_spans(log)}


def test_a_row_becomes_a_row_of_the_log(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(7, 3, 4, 0.5)])
    assert run(mapping(), source, tmp_path / "log") == ([0], ["1 rows read, 0 dropped (0.00 %)"])
    assert read(tmp_path / "log", 0) == [
        {
            "example_id": f"7-3-{MIDNIGHT + 43_200}",
            "event_time_ms": 1000 * (MIDNIGHT + 43_200),
            "impression_span": 0,
            "surface": "list",
            "cluster_id": "7",
            "label_liked": 1.0,
            "item": "3",
        }
    ]


def test_every_type_of_a_feature(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(7, "a|b", 4, 0)])
    values = {
        "text": ("rating", "4"),
        "integer": ("rating * 2.0", 8),
        "number": ("rating / 8", 0.5),
        "texts": ("string_split(item, '|')", ["a", "b"]),
        "integers": ("[rating, 5]", [4, 5]),
        "numbers": ("[rating / 8]", [0.5]),
    }
    features: Any = {kind: FeatureSettings(value=value, type=kind) for kind, (value, _) in values.items()}  # type: ignore[arg-type]
    settings = mapping(features=features)
    run(settings, source, tmp_path / "log")
    (row,) = read(tmp_path / "log", 0)
    assert {kind: row[kind] for kind in values} == {kind: value for kind, (_, value) in values.items()}
    check_span(tmp_path / "log", 0, log_columns(settings))
    assert own_columns(tmp_path / "log")[0].schema.equals(log_columns(settings).schema)


def test_rows_are_sorted_by_time_and_then_by_id(tmp_path: Path) -> None:
    lines = [line(1, 1, 4, 1.2), line(2, 9, 4, 0.5), line(2, 1, 4, 0.5), line(3, 1, 4, 0.1)]
    source = write_lines(tmp_path / "u.data", lines)
    assert run(mapping(), source, tmp_path / "log")[0] == [0, 1]
    assert [(row["cluster_id"], row["item"]) for row in read(tmp_path / "log", 0)] == [
        ("3", "1"),
        ("2", "1"),
        ("2", "9"),
    ]


def test_rows_in_order_of_time_keep_the_order_of_the_source(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(2, 9, 4, 0.5), line(2, 1, 4, 0.5)])
    run(mapping(), source, tmp_path / "log")
    assert column(tmp_path / "log", 0, "item") == ["9", "1"]


def test_a_longer_source_adds_only_the_next_spans(tmp_path: Path) -> None:
    lines = [line(user, 1, 4, day + user / 10) for day in range(4) for user in range(3)]
    labels = {
        "liked": LabelSettings(value="rating >= 4"),
        "late": LabelSettings(value="rating", delay=1),
    }
    whole = write_lines(tmp_path / "whole.tsv", lines)
    run(mapping(labels=labels), whole, tmp_path / "whole")
    part = write_lines(tmp_path / "part.tsv", lines[:6])
    log = tmp_path / "log"
    assert run(mapping(labels=labels), part, log)[0] == [0, 1]
    before = span_files(log, 1)[0].stat().st_mtime_ns
    write_lines(part, lines)
    assert run(mapping(labels=labels), part, log)[0] == [2, 3]
    assert span_files(log, 1)[0].stat().st_mtime_ns == before
    assert content(log) == content(tmp_path / "whole")
    spans, report = run(mapping(labels=labels), part, log)
    assert spans == [] and report[-1] == "no new span: the log already has 4 spans"
    assert {entry.name for entry in log.iterdir()} == {"_import.json", *(f"span={span}" for span in range(4))}


def test_another_number_of_rows_of_a_written_span_is_reported(tmp_path: Path) -> None:
    lines = [line(1, 1, 4, 0), line(1, 1, 4, 1)]
    source = write_lines(tmp_path / "u.data", lines)
    run(mapping(), source, tmp_path / "log")
    write_lines(source, [*lines, line(2, 1, 4, 0.5)])
    spans, report = run(mapping(), source, tmp_path / "log")
    assert spans == []
    assert "span 0 is written and stays as it is: it has 1 rows, the source now has 2" in report
    assert len(read(tmp_path / "log", 0)) == 1


def test_a_column_may_be_added_and_no_other_key_changed(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0)])
    log = tmp_path / "log"
    run(mapping(), source, log)
    write_lines(source, [line(1, 1, 4, 0), line(1, 2, 5, 1)])
    features = mapping().features | {"rating": FeatureSettings(value="rating", type="number")}
    same_with_spaces = {"liked": LabelSettings(value="rating  >=  4 -- stars")}
    assert run(mapping(features=features, labels=same_with_spaces), source, log)[0] == [1]
    assert column(log, 1, "rating") == [5.0]
    for changes, part in (
        ({"cluster": "item"}, "cluster"),
        ({"spans": SpanSettings(by="week")}, "spans"),
        ({"labels": {"liked": LabelSettings(value="rating >= 5")}}, "labels.liked"),
        ({"features": {}}, "features.item"),
    ):
        with pytest.raises(BadInput, match=rf"the mapping has changed: .* got a change of {part}"):
            run(mapping(**{"features": features} | changes), source, log)


def test_a_log_of_another_tool_and_a_broken_record_are_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0)])
    run(mapping(), source, tmp_path / "log")
    record = tmp_path / "log" / "_import.json"
    record.write_text("{}")
    with pytest.raises(BadInput, match=r"_import\.json: not an imported log: .* KeyError"):
        run(mapping(), source, tmp_path / "log")
    record.unlink()
    with pytest.raises(BadInput, match=r"not an imported log: .* got 1 spans without"):
        run(mapping(), source, tmp_path / "log")


def test_duplicates_are_dropped_numbered_or_refused(tmp_path: Path) -> None:
    lines = [line(1, 1, 5, 0), line(1, 1, 5, 0), line(1, 1, 2, 0), line(2, 1, 5, 0.1)]
    source = write_lines(tmp_path / "u.data", lines)
    _, report = run(mapping(max_dropped=0.5), source, tmp_path / "dropped")
    assert report[0] == "4 rows read, 2 dropped (50.00 %)"
    assert report[1] == "  2 rows: example_id: repeats an id of the same span"
    assert column(tmp_path / "dropped", 0, "cluster_id") == ["1", "2"]
    _, report = run(mapping(max_dropped=0.5, duplicates="number"), source, tmp_path / "numbered")
    assert report[0] == "4 rows read, 1 dropped (25.00 %)"
    first = f"1-1-{MIDNIGHT}"
    ids = column(tmp_path / "numbered", 0, "example_id")
    assert sorted(ids[:2]) == [first, f"{first}-2"] and len(ids) == 3
    with pytest.raises(BadInput, match=r"duplicates: expected every id once .* got 2 rows that repeat an id"):
        run(mapping(max_dropped=0.5, duplicates="refuse"), source, tmp_path / "refused")


def test_the_kept_duplicate_does_not_depend_on_the_order_of_the_source(tmp_path: Path) -> None:
    lines = [line(1, 1, rating, 0) for rating in range(1, 6)]
    found = set()
    for number, order in enumerate((lines, lines[::-1])):
        source = write_lines(tmp_path / f"{number}.tsv", order)
        run(mapping(max_dropped=1.0), source, tmp_path / f"log{number}")
        found.add(str(read(tmp_path / f"log{number}", 0)))
    assert len(found) == 1


def test_the_same_id_may_occur_in_two_spans(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0), line(1, 1, 4, 1)])
    run(mapping(example_id=("user", "item")), source, tmp_path / "log")
    assert [column(tmp_path / "log", span, "example_id") for span in (0, 1)] == [["1-1"], ["1-1"]]


def test_without_id_columns_the_id_is_a_hash_of_the_row(tmp_path: Path) -> None:
    lines = [line(1, 1, 4, 0), line(1, 1, 4, 0), line(1, "", 4, 0), line(1, 2, 4, 0)]
    source = write_lines(tmp_path / "u.data", lines)
    run(mapping(example_id=None, max_dropped=0.25), source, tmp_path / "log")
    ids = column(tmp_path / "log", 0, "example_id")
    assert len(ids) == 3
    # md5 of the row's values with the separator chr(31): the same on every machine.
    import hashlib

    values = "\x1f".join(["1", "1", "4", str(MIDNIGHT)])
    assert hashlib.md5(values.encode()).hexdigest() in ids  # noqa: S324 - not for security


def test_above_the_share_the_span_is_not_written_and_the_spans_before_are(tmp_path: Path) -> None:
    lines = [line(1, 1, 4, 0), line(1, 2, 4, 0), line(1, 1, 4, 1), line("", 1, 4, 1)]
    source = write_lines(tmp_path / "u.data", lines)
    message = r"span 1 \(2024-03-02\): too many rows are dropped: expected at most 40.00 % .* got 50.00 %"
    with pytest.raises(BadInput, match=message):
        run(mapping(max_dropped=0.4), source, tmp_path / "log")
    assert complete_spans(tmp_path / "log") == [0]
    assert run(mapping(max_dropped=0.5), source, tmp_path / "log")[0] == [1]


def test_lines_that_cannot_be_read_count_for_the_whole_source(tmp_path: Path) -> None:
    lines = [line(1, 1, 4, 0), line(1, 2, "x", 0), "1\t2", "1\t2\t3\t4\t5"]
    source = write_lines(tmp_path / "u.data", lines)
    lines_of_report: list[str] = []
    with pytest.raises(BadInput, match=r"too many rows are dropped: .* got 75.00 %"):
        importer.import_table(
            mapping(max_dropped=0.7), "m", source, tmp_path / "log", None,
            lambda report: lines_of_report.extend(report.lines()),
        )  # fmt: skip
    assert not (tmp_path / "log" / "span=0").exists()
    assert lines_of_report == [
        "4 rows read, 3 dropped (75.00 %)",
        "  1 rows: column rating does not fit its type",
        f"    u.data, line 2: 1\\t2\\tx\\t{MIDNIGHT}",
        "  1 rows: missing columns",
        "    u.data, line 3: 1\\t2",
        "  1 rows: too many columns",
        "    u.data, line 4: 1\\t2\\t3\\t4\\t5",
    ]


def test_every_kind_of_dirt_in_a_row_has_a_reason(tmp_path: Path) -> None:
    good = line(1, 1, 4, 0)
    bad = {
        "time.value: not in 1990 to 2099": "1\t1\t4\t99",
        "time.value: null, or not a time in its zone": "1\t1\t4\t",
        "example_id: null": line("", 2, 4, 0),
        "labels.liked.value: cannot be computed, or does not fit its type": line(1, 3, 0, 0),
        "labels.liked.value: NaN or infinity": line(1, 4, 9, 0),
        "features.text.value: null inside a list": line(1, 5, 8, 0),
        "features.whole.value: cannot be computed, or does not fit its type": line(1, 6, 3, 0),
        "features.rating.value: null": line(1, 7, "", 0),
    }
    settings = mapping(
        labels={"liked": LabelSettings(value="CASE WHEN rating = 9 THEN 'nan'::FLOAT ELSE ln(rating) END")},
        features={
            "text": FeatureSettings(
                value="[item, CASE WHEN rating IS DISTINCT FROM 8 THEN item END]", type="texts"
            ),
            "whole": FeatureSettings(value="CASE rating WHEN 3 THEN 1.5 ELSE 2.0 END", type="integer"),
            "rating": FeatureSettings(value="rating", type="number"),
        },
        nulls=NullSettings(drop=("rating",)),
        max_dropped=1.0,
    )
    source = write_lines(tmp_path / "u.data", [good, *bad.values()])
    _, report = run(settings, source, tmp_path / "log")
    assert {text.partition(" rows: ")[2] for text in report if " rows: " in text} == set(bad)
    assert column(tmp_path / "log", 0, "example_id") == [f"1-1-{MIDNIGHT}"]


def test_rows_that_where_leaves_out_are_not_dirt(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0), line(1, 2, 1, 0), line(1, 3, "", 0)])
    _, report = run(mapping(where="rating > 2"), source, tmp_path / "log")
    assert report == ["1 rows read, 0 dropped (0.00 %)"]
    assert column(tmp_path / "log", 0, "item") == ["1"]


def test_a_side_table_is_joined_by_its_key(tmp_path: Path) -> None:
    lines = [line(1, item, 4, 0) for item in (1, 2, 3)]
    write_lines(tmp_path / "data" / "u.data", lines)
    path = tmp_path / "data" / "u.item"
    path.write_bytes("1|Café|a,b\n2|Zoë|\n9|x|y\n".encode("latin-1"))
    items = SideTable(
        files="u.item", delimiter="|", header=False, encoding="latin-1", key="item",
        columns={"item": "text", "title": "text", "genres": "text"},
    )  # fmt: skip
    settings = mapping(
        source=FileSettings(delimiter="\t", header=False, columns=COLUMNS, files="u.data"),
        tables={"items": items},
        features={
            "title": FeatureSettings(value="items.title", type="text"),
            "genres": FeatureSettings(value="string_split(items.genres, ',')", type="texts"),
        },
    )
    run(settings, tmp_path / "data", tmp_path / "log")
    assert column(tmp_path / "log", 0, "title") == ["Café", "Zoë", None]
    assert column(tmp_path / "log", 0, "genres") == [["a", "b"], None, None]
    path.write_bytes(b"1|a|b\n1|c|d\n")
    with pytest.raises(BadInput, match=r"tables\.items\.key: a key with several rows: .* such as '1'"):
        run(settings, tmp_path / "data", tmp_path / "other")


def test_a_key_of_another_type_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "u.data", [line(1, "a", 4, 0)])
    write_lines(tmp_path / "data" / "items.csv", ["item,title", "1,x"])
    source = FileSettings(delimiter="\t", header=False, columns=COLUMNS, files="u.data")
    items = SideTable(files="items.csv", key="item", columns={"item": "integer"})
    with pytest.raises(BadInput, match=r"tables\.items\.source_key: wrong type of a key: expected BIGINT"):
        run(mapping(source=source, tables={"items": items}), tmp_path / "data", tmp_path / "log")


def test_a_number_that_is_not_finite_gives_no_label(tmp_path: Path) -> None:
    lines = [line(1, "a", "NaN", 0), line(1, "b", "inf", 0), line(1, "c", 4, 0), line(1, "d", "", 0)]
    source = FileSettings(delimiter="\t", header=False, columns={**COLUMNS, "rating": "number"})
    settings = mapping(source=source, max_dropped=0.5)
    _, report = run(settings, write_lines(tmp_path / "u.data", lines), tmp_path / "log")
    assert report[1] == "  2 rows: a number of the table: NaN or infinity"
    assert column(tmp_path / "log", 0, "label_liked") == [1.0, None]


def test_a_label_known_later_comes_in_a_matured_row(tmp_path: Path) -> None:
    lines = [line(1, day, day + 1, day) for day in range(4)]
    labels = {
        "liked": LabelSettings(value="rating >= 2"),
        "late": LabelSettings(value="CASE WHEN rating <> 2 THEN rating END", delay=2),
    }
    run(mapping(labels=labels), write_lines(tmp_path / "u.data", lines), tmp_path / "log")
    log = tmp_path / "log"
    assert [column(log, span, "impression_span") for span in range(4)] == [[0], [1], [0, 2], [3]]
    assert column(log, 2, "label_late") == [1.0, None]
    assert column(log, 2, "label_liked") == [None, 1.0]
    matured, fresh = read(log, 2)[0], read(log, 0)[0]
    others = ("example_id", "event_time_ms", "impression_span", "surface", "cluster_id", "item")
    assert [matured[name] for name in others] == [fresh[name] for name in others]


def test_a_matured_row_has_the_features_of_the_log_if_the_source_has_changed(tmp_path: Path) -> None:
    labels = {"liked": LabelSettings(value="rating >= 2"), "late": LabelSettings(value="rating", delay=1)}
    features = {"rating": FeatureSettings(value="rating", type="number")}
    settings = mapping(labels=labels, features=features)
    source = write_lines(tmp_path / "u.data", [line(1, 1, 3, 0)])
    run(settings, source, tmp_path / "log")
    write_lines(source, [line(1, 1, 5, 0), line(1, 1, 1, 1)])
    run(settings, source, tmp_path / "log")
    matured = read(tmp_path / "log", 1)[0]
    assert (matured["rating"], matured["label_late"]) == (3.0, 5.0)


def test_a_source_without_the_rows_of_a_late_label_is_refused(tmp_path: Path) -> None:
    labels = {"liked": LabelSettings(value="rating >= 2"), "late": LabelSettings(value="rating", delay=1)}
    source = write_lines(tmp_path / "u.data", [line(1, 1, 3, 0)])
    run(mapping(labels=labels), source, tmp_path / "log")
    write_lines(source, [line(1, 1, 5, 1)])
    with pytest.raises(
        BadInput, match=r"the source lacks the rows of span 0: .* label late .* Import a source"
    ):
        run(mapping(labels=labels), source, tmp_path / "log")


def test_no_label_of_a_task_in_a_span_is_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, "", 0)])
    with pytest.raises(BadInput, match="column label_liked is null in all fresh rows"):
        run(mapping(), source, tmp_path / "log")
    assert not (tmp_path / "log" / "span=0").exists()


def test_two_imports_into_one_log_are_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, 1, 4, 0)])
    with workspace(tmp_path / "log"), pytest.raises(BadInput, match="another import writes this log"):
        run(mapping(), source, tmp_path / "log")


def test_the_folder_of_a_killed_import_is_emptied(tmp_path: Path) -> None:
    spilled = tmp_path / "log" / ".import" / "spill" / "rows.tmp"
    spilled.parent.mkdir(parents=True)
    spilled.touch()
    with workspace(tmp_path / "log") as folder:
        assert list(folder.iterdir()) == []
    assert not folder.exists()


_KILLED = """
import sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.eventlog.importing.tables import mapping, run
run(mapping(), Path({source!r}), Path({log!r}), on_span=lambda span, rows: print(span, flush=True) or (
    span == 1 and __import__("time").sleep(60)))
"""


def test_a_killed_import_continues_to_the_same_log(tmp_path: Path) -> None:
    lines = [line(user, 1, 4, day + user / 10) for day in range(4) for user in range(3)]
    source = write_lines(tmp_path / "u.data", lines)
    run(mapping(), source, tmp_path / "undisturbed")
    log = tmp_path / "log"
    script = _KILLED.format(repository=str(REPOSITORY), source=str(source), log=str(log))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["0", "1"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (log / ".import").is_dir()
    deadline = time.monotonic() + 10
    (log / ".span=2.torn").mkdir()
    assert run(mapping(), source, log)[0] == [2, 3]
    assert time.monotonic() < deadline
    assert content(log) == content(tmp_path / "undisturbed")
    assert not [entry for entry in log.iterdir() if entry.name.startswith(".")]


def test_a_changed_mapping_is_recorded_only_with_a_new_span(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, "a", 4, day) for day in range(2)])
    run(mapping(), source, tmp_path / "log")
    features = mapping().features | {"user": FeatureSettings(value="user", type="text")}
    assert run(mapping(features=features), source, tmp_path / "log")[0] == []
    assert run(mapping(), source, tmp_path / "log")[0] == [], "the earlier mapping still fits"


def test_a_condition_that_no_row_fulfils_is_said(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "u.data", [line(1, "a", 4, 0)])
    report = run(mapping(where="rating > 9"), source, tmp_path / "log")[1]
    assert report[-1].startswith("no row of the source is left after `where`; no new span")
