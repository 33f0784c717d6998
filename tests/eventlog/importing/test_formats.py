"""Tables as real tools write them."""

import datetime
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.checks import check_span
from eventlog.errors import BadInput
from eventlog.importing.importer import log_columns
from eventlog.tables.mapping import (
    FeatureSettings,
    FileSettings,
    LabelSettings,
    SideTable,
    SpanSettings,
    TimeSettings,
)
from tests.eventlog.importing.tables import (
    COLUMNS,
    MIDNIGHT,
    column,
    line,
    mapping,
    milliseconds,
    read,
    run,
    write_lines,
)


def text(value: str) -> FeatureSettings:
    return FeatureSettings(value=value, type="text")


def test_movielens_1m_has_a_delimiter_of_two_characters(tmp_path: Path) -> None:
    write_lines(tmp_path / "ratings.dat", [f"1::1193::5::{MIDNIGHT}", f"2::661::3::{MIDNIGHT}"])
    (tmp_path / "movies.dat").write_bytes('1193::Café "X" (1975)::Drama|War\n'.encode("latin-1"))
    movies = SideTable(
        files="movies.dat", delimiter="::", header=False, quote="", encoding="latin-1", key="item",
        columns={"item": "text", "title": "text", "genres": "text"},
    )  # fmt: skip
    settings = mapping(
        source=FileSettings(files="ratings.dat", delimiter="::", header=False, quote="", columns=COLUMNS),
        tables={"movies": movies},
        features={"title": text("movies.title")},
    )
    run(settings, tmp_path, tmp_path / "log")
    assert column(tmp_path / "log", 0, "title") == ['Café "X" (1975)', None]


def test_atomic_files_have_the_types_of_their_columns_in_the_header(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    write_lines(tmp_path / "ml.inter", [header, f"007\t3\t4.5\t{MIDNIGHT}.0"])
    write_lines(tmp_path / "ml.item", ["item_id:token\tclass:token_seq\tvector:float_seq", "3\ta b\t0.5 1"])
    settings = mapping(
        source=FileSettings(files="ml.inter"),
        tables={"items": SideTable(files="ml.item", format="atomic", key="item_id")},
        time=TimeSettings(value="timestamp", unit="s"),
        cluster="user_id",
        example_id=("user_id", "item_id"),
        features={
            "user": text("user_id"),
            "class": FeatureSettings(value="items.class", type="texts"),
            "vector": FeatureSettings(value="items.vector", type="numbers"),
        },
    )
    run(settings, tmp_path, tmp_path / "log")
    (row,) = read(tmp_path / "log", 0)
    assert (row["user"], row["label_liked"], row["class"], row["vector"]) == (
        "007",
        1.0,
        ["a", "b"],
        [0.5, 1.0],
    )
    write_lines(tmp_path / "ml.inter", ["user_id\titem_id:token", "1\t2"])
    with pytest.raises(BadInput, match="not an atomic file: expected names with types"):
        run(settings, tmp_path, tmp_path / "other")


def test_parquet_keeps_its_types_and_folders_are_columns(tmp_path: Path) -> None:
    times = [datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.timezone.utc), None]
    table = pa.table(
        {
            "user": pa.array([2**60 + 1, 5], pa.int64()),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "price": pa.array([1, 2], pa.decimal128(9, 2)),
            "tags": [["a"], []],
            "bought": [True, False],
        }
    )
    folder = tmp_path / "orders" / "country=de"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet")
    settings = mapping(
        source=FileSettings(),
        time=TimeSettings(value="time"),
        labels={"bought": LabelSettings(value="bought")},
        example_id=None,
        surface="country",
        features={
            "price": FeatureSettings(value="price", type="number"),
            "tags": FeatureSettings(value="tags", type="texts"),
        },
        max_dropped=0.5,
    )
    run(settings, tmp_path / "orders", tmp_path / "log")
    (row,) = read(tmp_path / "log", 0)
    assert (row["cluster_id"], row["surface"], row["label_bought"]) == (str(2**60 + 1), "de", 1.0)
    assert (row["price"], row["tags"]) == (1.0, ["a"])
    assert row["event_time_ms"] == milliseconds("2024-03-01T12:00:00+00:00")
    (folder / "part-0.parquet").write_bytes((folder / "part-0.parquet").read_bytes()[:-20])
    with pytest.raises(BadInput, match="unreadable table"):
        run(settings, tmp_path / "orders", tmp_path / "other")


def test_the_hash_of_a_row_tells_a_null_from_an_empty_text(tmp_path: Path) -> None:
    table = pa.table({"user": ["1", "1"], "item": [None, ""], "rating": [4, 4], "seconds": [MIDNIGHT] * 2})
    pq.write_table(table, tmp_path / "t.parquet")
    run(mapping(source=FileSettings(), example_id=None), tmp_path / "t.parquet", tmp_path / "log")
    assert sorted(column(tmp_path / "log", 0, "item"), key=str) == ["", None]


SHOP = [
    "Bestell-Nr;Kunde;Preis (EUR);Zeit;Land;Gekauft;Farbe",
    "1;1152921504606846977;1.299,95;05.03.2024 23:30;DE;ja;rot",
    "1;1152921504606846977;1.299,95;05.03.2024 23:30;DE;ja;rot",
    "2;1152921504606846978;12,50;05.03.2024 18:30;US;nein;k.A.",
    "3;;7,00;05.03.2024 12:00;DE;ja;blau",
    "4;17;teuer;05.03.2024 12:00;DE;ja;blau",
    "5;17;7,00;31.03.2024 02:30;DE;ja;blau",
    '6;17;;06.03.2024 12:00;DE;nein;"grün; hell"',
    "",
]


def shop_mapping(**changes: Any) -> Any:
    settings = {
        "source": FileSettings(
            delimiter=";", decimal=",", thousands=".", null_values=("k.A.",),
            columns={"Preis (EUR)": "number"},
        ),
        "time": TimeSettings(
            value="Zeit", format="%d.%m.%Y %H:%M",
            zone="CASE Land WHEN 'DE' THEN 'Europe/Berlin' ELSE 'America/New_York' END",
        ),
        "spans": SpanSettings(by="day", zone="Europe/Berlin"), "cluster": "Kunde",
        "example_id": ("Bestell-Nr",),
        "surface": "lower(Land)", "max_dropped": 0.7,
        "labels": {
            "gekauft": LabelSettings(value="Gekauft = 'ja'"),
            "umsatz": LabelSettings(value="CASE WHEN Gekauft = 'ja' THEN ln(1 + \"Preis (EUR)\") ELSE 0 END"),
        },
        "features": {
            "kunde": text("Kunde"), "farbe": text("Farbe"),
            "preis": FeatureSettings(value='"Preis (EUR)"', type="number"),
        },
    }  # fmt: skip
    return mapping(**(settings | changes))


def test_a_dirty_table_of_a_shop(tmp_path: Path) -> None:
    source = tmp_path / "bestellungen.csv"
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(SHOP).encode())
    log = tmp_path / "log"
    settings = shop_mapping()
    # 05.03. 18:30 in New York is 06.03. 00:30 in Berlin.
    written, report = run(settings, source, log)
    assert written == [0, 1]
    assert [column(log, span, "example_id") for span in (0, 1)] == [["1"], ["2", "6"]]
    (first,), (second, third) = read(log, 0), read(log, 1)
    assert first["event_time_ms"] == milliseconds("2024-03-05T23:30:00+01:00")
    assert second["event_time_ms"] == milliseconds("2024-03-05T18:30:00-05:00")
    assert first["kunde"] == "1152921504606846977"
    assert (first["preis"], first["label_umsatz"]) == (pytest.approx(1299.95), pytest.approx(7.170850))
    assert (second["farbe"], third["farbe"], third["preis"]) == (None, "grün; hell", None)
    for span in written:
        check_span(log, span, log_columns(settings))
    assert report == [
        "7 rows read, 4 dropped (57.14 %)",
        "  1 rows: column Preis (EUR) does not fit its type",
        "    bestellungen.csv, line 6: 4;17;teuer;05.03.2024 12:00;DE;ja;blau",
        "  1 rows: time.value: null, or not a time in its zone",
        report[4],
        "  1 rows: cluster: null",
        report[6],
        "  1 rows: example_id: repeats an id of the same span",
        "    id 1",
    ]
    assert "'Zeit': '31.03.2024 02:30'" in report[4] and "'Bestell-Nr': 3" in report[6]


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (b"", {}, "no header"),
        (b"Bestell-Nr;Bestell-Nr\n1;2\n", {}, "column Bestell-Nr twice"),
        (b"Bestell-Nr;bestell-nr\n1;2\n", {}, "column bestell-nr twice"),
        (b"Bestell-Nr;Zeit\n1;2\n", {}, r"missing column Preis \(EUR\)"),
        ("Größe;Zeit\n1;2\n".encode("latin-1"), {}, r"expected utf-8 text.*encoding: latin-1"),
        (b"__file;Zeit\n1;2\n", {}, "column __file"),
        (b"PAR1", {"source": FileSettings(format="parquet")}, "unreadable table"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_such_table_is_refused(
    tmp_path: Path, content: bytes, changes: dict[str, Any], message: str
) -> None:
    source = tmp_path / "bestellungen.csv"
    source.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        run(shop_mapping(**changes), source, tmp_path / "log")


def test_bytes_that_are_not_utf_8_drop_their_line(tmp_path: Path) -> None:
    source = tmp_path / "u.tsv"
    source.write_bytes(line(1, "a", 4, 0).encode() + b"\n" + line(1, "\xe9", 4, 0).encode("latin-1") + b"\n")
    _, report = run(mapping(max_dropped=0.5), source, tmp_path / "log")
    assert report[1] == "  1 rows: invalid encoding"
    assert column(tmp_path / "log", 0, "item") == ["a"]


def test_files_of_a_folder_may_have_other_columns_and_be_compressed(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    write_lines(folder / "2024" / "a.csv", ["user,item,rating,seconds", f"1,a,4,{MIDNIGHT}"])
    (folder / "b.csv.gz").write_bytes(
        gzip.compress(f"seconds,user,new,item,rating\n{MIDNIGHT},1,x,b,5\n".encode())
    )
    write_lines(folder / "_SUCCESS", [""])
    settings = mapping(
        source=FileSettings(columns={"rating": "integer", "seconds": "integer"}),
        features={"item": text("item"), "new": text("new")},
    )
    run(settings, folder, tmp_path / "log")
    assert [(row["item"], row["new"]) for row in read(tmp_path / "log", 0)] == [("a", None), ("b", "x")]


def test_a_source_that_is_missing_or_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no source"):
        run(mapping(), tmp_path / "none.csv", tmp_path / "log")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no files: expected files '\*', got none"):
        run(mapping(), tmp_path / "empty", tmp_path / "log")
    source = write_lines(tmp_path / "table.xlsx", ["x"])
    with pytest.raises(BadInput, match=r"unknown format: .* got '\.xlsx'"):
        run(mapping(source=FileSettings()), source, tmp_path / "log")
    for files in ("/etc/passwd", "../other.csv"):
        with pytest.raises(BadInput, match="not a pattern of files"):
            run(mapping(source=FileSettings(files=files)), tmp_path / "empty", tmp_path / "log")


def test_a_name_with_a_quote_is_never_sql(tmp_path: Path) -> None:
    folder = tmp_path / "it's'] --"
    name = "a\") FROM read_text('/etc/passwd') --"
    quoted = '"' + name.replace('"', '""') + '"'
    write_lines(folder / "x.csv", [f"{quoted},user,seconds", f"1,2,{MIDNIGHT}"])
    settings = mapping(
        source=FileSettings(columns={"seconds": "integer"}),
        example_id=(name,),
        labels={"l": LabelSettings(value=f"{quoted}::INTEGER")},
        features={name: text(quoted)},
    )
    run(settings, folder, tmp_path / "log's")
    assert read(tmp_path / "log's", 0)[0][name] == "1"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_gz_file_is_refused_before_a_span_is_written(tmp_path: Path, damage: str) -> None:
    lines = "".join(line(1, item, 4, 0) + "\n" for item in range(5000))
    content = bytearray(gzip.compress(lines.encode()))
    if damage == "cut":
        content = content[: len(content) * 2 // 3]
    else:
        content[len(content) // 2] ^= 1
    source = tmp_path / "u.data.gz"
    source.write_bytes(content)
    with pytest.raises(BadInput, match=r"u\.data\.gz: a damaged file: expected a complete \.gz file"):
        run(mapping(), source, tmp_path / "log")
    assert not list((tmp_path / "log").glob("span=*"))
