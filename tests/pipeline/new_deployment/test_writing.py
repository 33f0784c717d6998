"""`init` on tables of other kinds: the guesses, and that import and checks accept what it writes."""

import datetime
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv

from eventlog.errors import BadInput
from pipeline.new_deployment.writing import write_first_deployment

DAY_S = 86_400


def music_log(num_rows=4000):
    draw = random.Random(0)
    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    return pa.table(
        {
            "ts": [
                start + datetime.timedelta(seconds=index * 12 * DAY_S // num_rows)
                for index in range(num_rows)
            ],
            "listener": [draw.randrange(200) + 2**60 for _ in range(num_rows)],
            "track": [f"t{draw.randrange(300)}" for _ in range(num_rows)],
            "page": pa.array(draw.choices(["Start page", "Radio"], [3, 1], k=num_rows)).dictionary_encode(),
            "skipped": [draw.random() < 0.3 for _ in range(num_rows)],
            "ms_played": [draw.choice([0, draw.randrange(200_000)]) for _ in range(num_rows)],
            "country": draw.choices(["DE", "AT", None], [5, 2, 1], k=num_rows),
            "tempo": [draw.uniform(60, 180) for _ in range(num_rows)],
            "genres": [draw.sample(["rock", "pop", "jazz"], 2) for _ in range(num_rows)],
            "column shared": [draw.random() < 0.1 for _ in range(num_rows)],
            "amount paid": [draw.uniform(1, 5) * (draw.random() < 0.9) for _ in range(num_rows)],
            "constant": [1] * num_rows,
            "position": [draw.randrange(1, 40) for _ in range(num_rows)],
            "track_seconds": [draw.randrange(90, 400) for _ in range(num_rows)],
        }
    )


@pytest.fixture
def music(tmp_path):
    file = tmp_path / "plays.parquet"
    pq.write_table(music_log(), file)
    return file


def read_yaml(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_roles_are_guessed_from_names_and_values(music, tmp_path):
    first = write_first_deployment(tmp_path / "Müsik log", music)
    mapping = read_yaml(tmp_path / "Müsik log" / "mapping.yaml")
    deployment = read_yaml(tmp_path / "Müsik log" / "deployment.yaml")
    assert mapping["time"] == {"value": "source.ts"}
    assert mapping["spans"] == {"by": "day"}
    assert mapping["cluster"] == "source.listener"
    assert mapping["labels"] == {
        "skipped": {"value": "source.skipped"}, "ms_played": {"value": "source.ms_played / 1000.0"},
        "column_shared": {"value": 'source."column shared"'},
        "amount_paid": {"value": 'source."amount paid"'},
    }  # fmt: skip
    assert deployment["name"] == "musik_log"
    assert deployment["burn_in"] == "0:3"
    assert deployment["tasks"]["ms_played"] == {
        "kind": "regression", "group": "pet", "unit": "seconds", "scale": "log1p", "loss": "ziln",
    }  # fmt: skip
    # Nine of ten amounts are above 0, half of the play times.
    assert "loss" not in deployment["tasks"]["amount_paid"]
    assert set(deployment["surfaces"]) == set(first.surfaces) == {"page_start-page", "page_radio"}
    features = deployment["features"]
    assert features["listener"] == {"kind": "id", "buckets": 512}
    assert features["country"] == {"kind": "id"}
    assert features["tempo"] == {"kind": "quantiles", "buckets": 20}
    assert features["position"] == {"kind": "quantiles", "buckets": 20, "served_as": 1}
    assert features["track_seconds"] == {"kind": "quantiles", "buckets": 20}
    assert features["genres"] == {"kind": "bag"}
    assert deployment["history"] == {
        "entities": {"user": "listener", "item": "track"},
        "tasks": ["skipped", "ms_played", "column_shared", "amount_paid"],
        "sequences": {"items": {"entity": "user", "column": "track", "length": 20}},
    }
    history = {"history_user_count", "history_item_ms_played", "sequence_items"}
    assert history < set(deployment["teacher"]["features"]) - set(deployment["student"]["features"])
    assert not features.keys() & {
        "constant",
        "page",
        "skipped",
        "ms_played",
        "ts",
        "column_shared",
        "amount_paid",
    }
    assert "# Not used: source.constant (one value)." in (tmp_path / "Müsik log" / "mapping.yaml").read_text()


def test_columns_with_any_names_give_a_mapping_that_can_be_read(tmp_path):
    table = music_log().rename_columns(
        [
            "Zeit",
            "Kunden Nr.",
            *music_log().column_names[2:3],
            "Seite (Übersicht)",
            *music_log().column_names[4:],
        ]
    )
    pq.write_table(table, tmp_path / "source.parquet")
    first = write_first_deployment(tmp_path / "out", tmp_path / "source.parquet")
    assert first.surfaces == ("seite_uber_start-page", "seite_uber_radio")
    text = (tmp_path / "out" / "mapping.yaml").read_text(encoding="utf-8")
    mapping = yaml.safe_load(text.replace("#   where:", "where:"))
    assert mapping["where"] == 'hash(source."Kunden Nr.") % 20 = 0'
    assert mapping["time"] == {"value": "source.Zeit"}


def test_labels_whose_names_differ_in_case_only_get_different_names(tmp_path):
    table = music_log().append_column("Skipped!", music_log()["skipped"])
    pq.write_table(table, tmp_path / "plays.parquet")
    first = write_first_deployment(tmp_path / "out", tmp_path / "plays.parquet")
    assert [label.task for label in first.roles.labels if label.task.startswith("skipped")] == [
        "skipped", "skipped_2",
    ]  # fmt: skip


def test_nothing_is_overwritten(music, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "schema.pbtxt").write_text("mine")
    with pytest.raises(BadInput, match=r"schema\.pbtxt: the file exists"):
        write_first_deployment(tmp_path / "out", music)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["schema.pbtxt"]
    assert (tmp_path / "out" / "schema.pbtxt").read_text() == "mine"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["listener", "skipped", "country"], "no column with a time"),
        (["ts", "tempo", "skipped"], "no column with a user"),
        (["ts", "listener", "tempo"], "no column for a label"),
    ],
)
def test_a_table_without_a_role_is_refused_in_one_line(tmp_path, columns, message):
    file = tmp_path / "plays.parquet"
    pq.write_table(music_log().select(columns), file)
    with pytest.raises(BadInput, match=message) as error:
        write_first_deployment(tmp_path / "out", file)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_side_tables_are_joined_by_a_column_with_unique_values(tmp_path):
    folder = tmp_path / "ratings"
    folder.mkdir()
    draw = random.Random(1)
    rows = [
        (draw.randrange(50), draw.randrange(30), draw.randrange(1, 6), 900_000_000 + i * 5000)
        for i in range(2000)
    ]
    (folder / "ratings.tsv").write_text(
        "user\tmovie\trating\tseconds\n" + "\n".join("\t".join(map(str, row)) for row in rows) + "\n"
    )
    (folder / "movies.csv").write_text(
        "movie;titel;genres\n"
        + "\n".join(f"{i};Film {i};{'a|b' if i % 2 else 'b|c'}" for i in range(30))
        + "\n"
    )
    (folder / "other.csv").write_text("x,y\n1,2\n1,3\n")
    write_first_deployment(tmp_path / "out", folder)
    mapping = read_yaml(tmp_path / "out" / "mapping.yaml")
    assert mapping["tables"]["movies"]["key"] == "movie"
    assert mapping["tables"]["movies"]["delimiter"] == ";"
    assert mapping["time"] == {"value": "source.seconds", "unit": "s"}
    assert mapping["labels"] == {"good_rating": {"value": "source.rating >= 4"}}
    assert mapping["features"]["genres"] == {"value": "string_split(movies.genres, '|')", "type": "texts"}
    assert "Not used: other.csv" in (tmp_path / "out" / "mapping.yaml").read_text()


def test_a_column_that_is_set_only_with_a_label_is_no_feature(tmp_path):
    table = music_log()
    skipped = table["skipped"].to_pylist()
    draw = random.Random(1)
    for name, values in {
        "seconds_in_survey": [draw.randrange(9) if is_skipped else 0 for is_skipped in skipped],
        "seconds_of_advert": [draw.randrange(9) * (draw.random() < 0.3) for _ in skipped],
    }.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, tmp_path / "plays.parquet")
    write_first_deployment(tmp_path / "out", tmp_path / "plays.parquet")
    features = read_yaml(tmp_path / "out" / "mapping.yaml")["features"]
    assert "seconds_in_survey" not in features
    assert "seconds_of_advert" in features
    comments = (tmp_path / "out" / "mapping.yaml").read_text(encoding="utf-8")
    assert "source.seconds_in_survey (probably known only after the impression: set almost only" in comments


def write_parts(folder, names):
    table = music_log()
    half = table.num_rows // 2
    for name, part in zip(names, (table.slice(0, half), table.slice(half)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        csv.write_csv(part.select(["ts", "listener", "track", "skipped"]), folder / name)
    return folder


def test_the_pattern_of_a_table_fits_no_file_of_another(tmp_path):
    source = write_parts(tmp_path / "source", ["part-a.csv", "part-b.csv"])
    (source / "part-notes.txt").write_text("title\ttext\nx\ty\nz\tw\n")
    first = write_first_deployment(tmp_path / "out", source)
    assert first.profiles.source.files == "part-*.csv"


def test_files_that_no_pattern_tells_apart_are_refused(tmp_path):
    source = write_parts(tmp_path / "source", ["part-a.csv", "part-b.csv"])
    (source / "part-c.csv").write_text("title,text\nx,y\nz,w\n")
    with pytest.raises(BadInput, match=r"files of several tables: .* part-a.csv and 1 more"):
        write_first_deployment(tmp_path / "out", source)
    assert not (tmp_path / "out").exists()


def shop_table(**columns):
    """2,000 rows; `clicked` is true in 30 % of them."""
    draw = random.Random(2)
    start = datetime.datetime(2024, 3, 1)
    clicked = [draw.random() < 0.3 for _ in range(2000)]
    table = {
        "time": [start + datetime.timedelta(minutes=5 * number) for number in range(2000)],
        "user_id": [f"u{draw.randrange(90)}" for _ in clicked],
        "item_id": [f"i{draw.randrange(90)}" for _ in clicked],
        "clicked": clicked,
    }
    return pa.table(table | {name: make(clicked, draw) for name, make in columns.items()})


def init(tmp_path, table, suffix="parquet", **options):
    file = tmp_path / f"shop.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, file)
    else:
        csv.write_csv(table, file, csv.WriteOptions(**options))
    first = write_first_deployment(tmp_path / "out", file)
    return first, read_yaml(tmp_path / "out" / "mapping.yaml")


def test_a_text_that_tells_the_label_is_no_feature(tmp_path):
    table = shop_table(
        payment=lambda clicked, draw: ["paid" if one else "none" for one in clicked],
        state=lambda clicked, draw: [2 if one else 1 for one in clicked],
        device=lambda clicked, draw: [draw.choice(["phone", "desk"]) for _ in clicked],
        sunny=lambda clicked, draw: ["yes" if draw.random() < 0.3 + 0.3 * one else "no" for one in clicked],
    )
    first, mapping = init(tmp_path, table)
    assert {"device", "sunny"} <= set(mapping["features"])
    assert not {"payment", "state"} & set(mapping["features"])
    assert first.roles.left_out["source.payment"].endswith("its value tells clicked")


def test_days_and_months_that_may_be_exchanged_are_a_doubt(tmp_path):
    for number, (last_day, has_doubt) in enumerate(((7, True), (20, False))):
        folder = tmp_path / str(number)
        folder.mkdir()
        times = [f"03/{1 + row * last_day // 2000:02}/2024 10:00" for row in range(2000)]
        table = shop_table().drop(["time"]).append_column("time", pa.array(times))
        first, _ = init(folder, table, "csv")
        doubts = [note for note in first.unsure if "fits as well as" in note]
        assert bool(doubts) == has_doubt, first.time


def test_texts_with_an_offset_are_no_doubt_about_the_zone(tmp_path):
    times = [f"2024-03-{1 + row * 20 // 2000:02}T10:00:00+01:00" for row in range(2000)]
    first, _ = init(tmp_path, shop_table().drop(["time"]).append_column("time", pa.array(times)), "csv")
    assert not [note for note in first.unsure if "zone" in note]


def test_a_german_date_is_no_number_and_a_second_time_no_feature(tmp_path):
    table = shop_table(
        amount_spent=lambda clicked, draw: [f"1.{draw.randrange(100, 999)},50" for _ in clicked],
        Lieferdatum=lambda clicked, draw: [f"{draw.randrange(10, 29)}.03.2024" for _ in clicked],
    )
    first, mapping = init(tmp_path, table, "csv", delimiter=";")
    assert "lieferdatum" not in mapping["features"]
    assert first.roles.left_out["source.Lieferdatum"] == "a time"
    assert "amount_spent" in mapping["labels"]


def test_pages_that_get_the_same_name_are_a_doubt(tmp_path):
    table = shop_table(page=lambda clicked, draw: [draw.choice(["a b", "a/b", "c"]) for _ in clicked])
    first, _ = init(tmp_path, table)
    assert "surface: 'a b', 'a/b' get the same name page_a-b; give them names in `surface`" in first.unsure


def test_nested_columns_and_one_called_source_are_left_out(tmp_path):
    table = shop_table(
        nested=lambda clicked, draw: [{"a": draw.randrange(5)} for _ in clicked],
        source=lambda clicked, draw: [draw.choice(["ad", "mail"]) for _ in clicked],
    )
    first, mapping = init(tmp_path, table)
    assert not {"nested", "source"} & set(mapping["features"])
    assert set(first.roles.left_out) == {"source.nested", "source.source"}


def test_counts_of_side_tables_are_a_doubt(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    pq.write_table(shop_table(), folder / "events.parquet")
    users = {"user_id": [f"u{n}" for n in range(90)], "total_clicks": list(range(90))}
    csv.write_csv(pa.table(users), folder / "users.csv")
    first = write_first_deployment(tmp_path / "out", folder)
    assert any(note.startswith("users.total_clicks: counts and means") for note in first.unsure)


def test_the_pattern_fits_files_of_later_days(tmp_path):
    source = write_parts(tmp_path / "source", ["log-2026-03-01.csv", "log-2026-03-02.csv"])
    assert write_first_deployment(tmp_path / "out", source).profiles.source.files == "log-*.csv"


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00", "a,b\n1,2\n".encode("utf-16")])
def test_a_file_that_is_no_text_is_refused(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"table\.csv: not a text file: .* Save the table as CSV in UTF-8"):
        write_first_deployment(tmp_path / "out", tmp_path / "table.csv")


def test_files_in_folders_by_day_are_one_table(tmp_path):
    source = write_parts(tmp_path / "source", ["day=1/part-0.csv", "day=2/part-1.csv"])
    assert write_first_deployment(tmp_path / "out", source).profiles.source.files == "day=*/*.csv"


def test_dates_without_a_time_have_no_offset(tmp_path):
    dates = [f"2024-03-{1 + row * 20 // 2000:02}" for row in range(2000)]
    first, _ = init(tmp_path, shop_table().drop(["time"]).append_column("time", pa.array(dates)), "csv")
    assert any(note.startswith("time: the times have no offset") for note in first.unsure)
