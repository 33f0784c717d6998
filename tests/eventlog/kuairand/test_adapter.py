import csv
import datetime
import gzip
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.checks import check_span
from eventlog.errors import BadInput
from eventlog.kuairand.adapter import write_kuairand
from eventlog.kuairand.columns import HISTORY, LOG_COLUMNS, LOG_SCHEMA
from eventlog.random_exposures import read_random_exposures
from eventlog.spans import complete_spans, span_files

FIRST_DAY = datetime.date(2022, 4, 29)
MIDNIGHT_MS = 1_651_161_600_000  # 2022-04-29 00:00 in China
DAY_MS = 86_400_000
LABELS = {"is_click": 0, "is_like": 0, "is_comment": 0, "long_view": 0, "is_profile_enter": 0}
UNUSED = {"hourmin": 0, "is_follow": 0, "is_forward": 0, "is_hate": 0, "profile_stay_time": 0}
TRAITS = {f"onehot_feat{trait}": "1" for trait in range(18)}


def impression(user: int, video: int, day: int, hour: float = 12.0, **changes: Any) -> dict[str, Any]:
    date = FIRST_DAY + datetime.timedelta(days=day)
    row = {
        "user_id": user,
        "video_id": video,
        "date": date.strftime("%Y%m%d"),
        "time_ms": MIDNIGHT_MS + day * DAY_MS + int(hour * 3_600_000),
        "play_time_ms": 1000,
        "duration_ms": 20_000,
        "is_rand": 0,
        "tab": 1,
    }
    return {**row, **LABELS, **UNUSED, **changes}


def user_features(user: int, **changes: Any) -> dict[str, Any]:
    row = {
        "user_id": user,
        "user_active_degree": "full_active",
        "is_lowactive_period": 0,
        "is_live_streamer": -124,
        "is_video_author": 1,
        "follow_user_num": 3,
        "fans_user_num": 2,
        "friend_user_num": 1,
        "register_days": 100,
    }
    return {**row, **TRAITS, **changes}


def video_features(video: int, **changes: Any) -> dict[str, Any]:
    row = {"video_id": video, "author_id": 90, "upload_dt": "2022-04-19", "upload_type": "Web", "tag": "39"}
    return {**row, **changes}


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_source(folder: Path, impressions: list[dict[str, Any]], **features: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_csv(folder / "log_standard_4_29_to_5_08_pure.csv", impressions)
    write_csv(folder / "user_features_pure.csv", features.get("users", [user_features(1)]))
    write_csv(folder / "video_features_basic_pure.csv", features.get("videos", [video_features(7)]))
    return folder


def read_span(log: Path, span: int) -> list[dict[str, Any]]:
    return pa.concat_tables(
        pq.read_table(file, partitioning=None) for file in span_files(log, span)
    ).to_pylist()


def convert(tmp_path: Path, impressions: list[dict[str, Any]], **features: Any) -> Path:
    write_kuairand(write_source(tmp_path / "source", impressions, **features), tmp_path / "log")
    return tmp_path / "log"


def test_an_impression_becomes_a_row_with_the_columns_of_both_feature_files(tmp_path: Path) -> None:
    log = convert(tmp_path, [impression(1, 7, 0, 23.5, is_click=1, play_time_ms=6389)])
    (row,) = read_span(log, 0)
    assert pq.read_table(span_files(log, 0)[0], partitioning=None).schema.equals(LOG_SCHEMA)
    assert row["example_id"] == f"1-7-20220429-{MIDNIGHT_MS + 84_600_000}"
    assert (row["surface"], row["cluster_id"], row["user_id"], row["video_id"]) == ("tab_1", "1", "1", "7")
    assert (row["author_id"], row["upload_type"], row["user_active_degree"]) == ("90", "Web", "full_active")
    assert (row["hour"], row["duration_seconds"], row["video_age_days"]) == (23, 20.0, 10.0)
    assert (row["follow_user_num"], row["fans_user_num"], row["friend_user_num"]) == (3.0, 2.0, 1.0)
    assert (row["register_days"], row["label_click"], row["label_like"]) == (100.0, 1.0, 0.0)
    assert row["label_watch_time"] == pytest.approx(2.0, abs=1e-4)  # log1p(6.389)
    assert row["label_ltv"] is None


def test_ids_of_random_exposures_are_written_beside_the_log(tmp_path: Path) -> None:
    rows = [impression(1, 7, 0), impression(1, 8, 0, 13.0, is_rand=1), impression(2, 7, 1)]
    log = convert(tmp_path, rows)
    assert len(read_span(log, 0)) == 2
    (example_id,) = read_random_exposures(log, range(2)).to_pylist()
    assert example_id == read_span(log, 0)[1]["example_id"]
    with pytest.raises(
        BadInput, match="no random exposures: expected impressions drawn at random in spans 1 to 1"
    ):
        read_random_exposures(log, range(1, 2))


def test_exact_duplicates_are_dropped_and_other_repeated_ids_get_an_ordinal(tmp_path: Path) -> None:
    row = impression(1, 7, 0)
    log = convert(tmp_path, [row, row, {**row, "tab": 6}])
    rows = read_span(log, 0)
    assert [entry["surface"] for entry in rows] == ["tab_1", "tab_6"]
    assert rows[1]["example_id"] == rows[0]["example_id"] + "-2"


def test_rows_are_ordered_by_time_ms_not_by_the_rounded_hourmin(tmp_path: Path) -> None:
    late = impression(1, 7, 0, 13.9, hourmin=1300)
    early = impression(2, 7, 0, 13.1, hourmin=1400)
    assert [row["user_id"] for row in read_span(convert(tmp_path, [late, early]), 0)] == ["2", "1"]


def test_the_column_date_determines_the_span_even_if_time_ms_disagrees(tmp_path: Path) -> None:
    log = convert(tmp_path, [impression(1, 7, 0), impression(1, 7, 1, hour=-0.5)])
    (row,) = read_span(log, 1)
    assert row["hour"] == 23
    assert row["impression_span"] == 1


def test_every_notation_of_a_missing_value_becomes_null(tmp_path: Path) -> None:
    users = [
        user_features(
            1,
            user_active_degree="-124",
            follow_user_num="",
            fans_user_num=-124,
            onehot_feat0=-124,
            onehot_feat1="",
            onehot_feat4="3.0",
        )
    ]
    videos = [video_features(7, upload_type="", upload_dt="", tag="", author_id="")]
    rows = [impression(1, 7, 0, duration_ms=0, is_like=-124), impression(5, 8, 0, hour=13, is_like=1)]
    joined, not_joined = read_span(convert(tmp_path, rows, users=users, videos=videos), 0)
    for column in ("user_active_degree", "follow_user_num", "fans_user_num", "upload_type", "tag"):
        assert joined[column] is None, column
    for column in ("video_age_days", "author_id", "duration_seconds", "label_like"):
        assert joined[column] is None, column
    expected = ["2=1", "3=1", "4=3", *(f"{trait}=1" for trait in range(5, 18)), "video_author=1"]
    assert joined["user_traits"] == expected
    assert (not_joined["user_traits"], not_joined["author_id"], not_joined["tag"]) == (None, None, None)


def test_the_tag_is_a_list_and_a_future_upload_has_age_zero(tmp_path: Path) -> None:
    videos = [video_features(7, tag="39, 3,-124,", upload_dt="2022-05-03")]
    (row,) = read_span(convert(tmp_path, [impression(1, 7, 0)], videos=videos), 0)
    assert (row["tag"], row["video_age_days"]) == (["39", "3"], 0.0)


def test_all_log_files_of_a_release_form_one_log(tmp_path: Path) -> None:
    source = tmp_path / "KuaiRand-27K"
    (source / "data").mkdir(parents=True)
    first = impression(1, 7, 0)
    del first["hourmin"]
    write_csv(source / "data" / "log_standard_4_08_to_4_21_27k_part1.csv", [first])
    write_csv(source / "data" / "log_standard_4_08_to_4_21_27k_part2.csv.gz", [impression(2, 7, 0, 13)])
    write_csv(source / "data" / "log_random_4_22_to_5_08_27k.csv", [impression(3, 7, 0, 14, is_rand=1)])
    write_csv(source / "data" / "user_features_27k.csv.gz", [user_features(user) for user in (1, 2, 3)])
    write_csv(source / "data" / "video_features_basic_27k_part1.csv", [video_features(8)])
    write_csv(source / "data" / "video_features_basic_27k_part2.csv", [video_features(7), video_features(7)])
    assert write_kuairand(source, tmp_path / "log") == 1
    rows = read_span(tmp_path / "log", 0)
    assert [(row["user_id"], row["author_id"]) for row in rows] == [("1", "90"), ("2", "90"), ("3", "90")]


def test_ltv_is_the_watch_time_of_the_next_two_days_and_is_written_on_the_third(tmp_path: Path) -> None:
    seconds = {0: 100, 1: 3, 2: 4, 3: 50}
    rows = [impression(1, 7, day, play_time_ms=1000 * played) for day, played in seconds.items()]
    rows += [impression(1, 8, 2, play_time_ms=500), impression(2, 7, 0, 13), impression(2, 7, 3)]
    log = convert(tmp_path, rows)
    assert [len(read_span(log, span)) for span in range(4)] == [2, 1, 2, 4]
    first, second, *fresh = read_span(log, 3)
    assert first["label_ltv"] == pytest.approx(math.log1p(3 + 4 + 0.5))
    assert second["label_ltv"] == 0.0
    assert [row["impression_span"] for row in fresh] == [3, 3]
    assert all(row["label_ltv"] is None for span in range(3) for row in read_span(log, span))


def test_a_matured_row_equals_its_fresh_row_except_for_the_labels(tmp_path: Path) -> None:
    rows = [impression(1, 7, day, is_click=day % 2, play_time_ms=1000 * day) for day in range(5)]
    log = convert(tmp_path, rows)
    fresh, matured = read_span(log, 1)[-1], read_span(log, 4)[0]
    labels = [name for name in fresh if name.startswith("label_")]
    assert fresh["history_user_count"] == pytest.approx(math.log1p(1))
    assert {name: matured[name] for name in fresh if name not in labels} == {
        name: fresh[name] for name in fresh if name not in labels
    }
    assert [name for name in labels if matured[name] is not None] == ["label_ltv"]
    assert matured["label_ltv"] == pytest.approx(math.log1p(2 + 3))


def test_matured_rows_do_not_mature_again_or_count_in_the_history(tmp_path: Path) -> None:
    log = convert(tmp_path, [impression(1, 7, day) for day in range(8)])
    rows = [read_span(log, span) for span in range(8)]
    assert [[row["impression_span"] for row in span_rows] for span_rows in rows] == [
        [0],
        [1],
        [2],
        [0, 3],
        [1, 4],
        [2, 5],
        [3, 6],
        [4, 7],
    ]
    assert [span_rows[-1]["history_user_count"] for span_rows in rows] == pytest.approx(
        [math.log1p(span) for span in range(8)]
    )


def test_a_label_changes_no_earlier_span_and_no_history_of_its_own_span(tmp_path: Path) -> None:
    def rows_with(changed_day: int) -> list[dict[str, Any]]:
        changes = dict.fromkeys(LABELS, 1) | {"play_time_ms": 77_000}
        return [
            impression(user, 7, day, 12 + user, **(changes if day >= changed_day else {}))
            for day in range(5)
            for user in (1, 2)
        ]

    before = convert(tmp_path, rows_with(5))
    for changed_day in (0, 2, 4):
        write_source(tmp_path / "source", rows_with(changed_day))
        after = tmp_path / f"changed-{changed_day}"
        write_kuairand(tmp_path / "source", after)
        for span in range(changed_day):
            assert read_span(after, span) == read_span(before, span)
        for old, new in zip(read_span(before, changed_day), read_span(after, changed_day), strict=True):
            assert [new[name] for name in HISTORY.columns.names] == [
                old[name] for name in HISTORY.columns.names
            ]
    # Control: a label of day 0 does change the history of day 1.
    assert read_span(tmp_path / "changed-0", 1)[0]["history_user_click"] > 0


def test_a_log_extended_by_later_days_equals_one_written_in_a_single_run(tmp_path: Path) -> None:
    rows = [impression(user, 7, day, 12 + user) for day in range(6) for user in (1, 2)]
    whole = convert(tmp_path, rows)
    extended = tmp_path / "extended"
    write_source(tmp_path / "source", rows[:6])
    assert write_kuairand(tmp_path / "source", extended) == 3
    modified_ns = span_files(extended, 2)[0].stat().st_mtime_ns
    write_source(tmp_path / "source", rows[6:])
    reported: list[tuple[int, int]] = []
    assert write_kuairand(tmp_path / "source", extended, lambda *call: reported.append(call)) == 3
    assert reported == [(3, 4), (4, 4), (5, 4)]
    assert span_files(extended, 2)[0].stat().st_mtime_ns == modified_ns
    assert [read_span(extended, span) for span in range(6)] == [read_span(whole, span) for span in range(6)]
    assert write_kuairand(tmp_path / "source", extended) == 0
    assert {entry.name for entry in extended.iterdir()} == {
        "_history",
        "_log.json",
        *(f"span={span}" for span in range(6)),
    }


def test_a_missing_history_is_rebuilt_from_the_log(tmp_path: Path) -> None:
    rows = [impression(1, 7, day, is_click=1) for day in range(4)]
    whole = convert(tmp_path, rows)
    write_source(tmp_path / "source", rows[:3])
    write_kuairand(tmp_path / "source", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "_history")
    write_source(tmp_path / "source", rows)
    write_kuairand(tmp_path / "source", tmp_path / "killed")
    assert read_span(tmp_path / "killed", 3) == read_span(whole, 3)


def test_history_ahead_of_the_log_is_refused(tmp_path: Path) -> None:
    log = convert(tmp_path, [impression(1, 7, day) for day in range(2)])
    shutil.rmtree(log / "span=1")
    with pytest.raises(
        BadInput, match="history is ahead of the log: expected history of spans up to 0, got up to 1"
    ):
        write_kuairand(tmp_path / "source", log)


def test_a_day_without_impressions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"span gap: .* none on 2022-04-30"):
        convert(tmp_path, [impression(1, 7, 0), impression(1, 7, 2)])
    assert not (tmp_path / "log" / "_log.json").exists()


def test_days_before_the_log_and_logs_of_another_source_are_refused(tmp_path: Path) -> None:
    log = convert(tmp_path, [impression(1, 7, 1)])
    write_source(tmp_path / "source", [impression(1, 7, 0), impression(1, 7, 1)])
    with pytest.raises(BadInput, match=r"the source begins before the log: .* got the first on 2022-04-29"):
        write_kuairand(tmp_path / "source", log)
    (log / "_log.json").unlink()
    with pytest.raises(BadInput, match=r"not a log of KuaiRand"):
        write_kuairand(tmp_path / "source", log)


def test_a_source_without_log_files_or_with_two_releases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere: no KuaiRand files of kind log_"):
        write_kuairand(tmp_path / "nowhere", tmp_path / "log")
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    write_csv(source / "log_standard_4_08_to_4_21_1k.csv", [impression(1, 7, 0)])
    with pytest.raises(BadInput, match=r"several releases of KuaiRand in one folder: .* got 1k, pure"):
        write_kuairand(source, tmp_path / "log")


def test_a_missing_column_is_refused_with_file_and_name(tmp_path: Path) -> None:
    row = impression(1, 7, 0)
    del row["long_view"]
    with pytest.raises(BadInput, match=r"log_standard_4_29_to_5_08_pure\.csv: missing column long_view"):
        convert(tmp_path, [row])


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"unreadable KuaiRand files: .*not a number"):
        convert(tmp_path, [impression(1, 7, 0), impression(1, 7, 0, is_click="not a number")])
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    (source / "user_features_pure.csv").unlink()
    (source / "user_features_pure.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(BadInput, match=r"user_features_pure\.csv\.gz: unreadable file"):
        write_kuairand(source, tmp_path / "log")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    (source / "log_standard_4_29_to_5_08_pure.csv").unlink()
    file = source / "log_standard_4_29_to_5_08_pure.csv.gz"
    write_csv(file, [impression(user, 7, 0, play_time_ms=user**3) for user in range(20_000)])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadInput, match=r"unreadable"):
        write_kuairand(source, tmp_path / "log")


def test_rows_without_a_key_and_logs_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing values in column user_id: .* 1 rows without a value"):
        convert(tmp_path, [impression(1, 7, 0), impression("", 7, 0)])  # type: ignore[arg-type]
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    header = (source / "log_standard_4_29_to_5_08_pure.csv").read_text().splitlines()[0]
    (source / "log_standard_4_29_to_5_08_pure.csv").write_text(header + "\n")
    with pytest.raises(BadInput, match="no impressions"):
        write_kuairand(source, tmp_path / "log")


def test_the_real_release_converts_to_a_log_that_passes_every_check(tmp_path: Path) -> None:
    source = Path(os.environ.get("KUAIRAND_DIR", Path(__file__).parents[2] / "data" / "kuairand"))
    if not source.is_dir():
        pytest.skip("KuaiRand is missing: set KUAIRAND_DIR or link it to data/kuairand")
    num_spans = write_kuairand(source, tmp_path / "log")
    assert complete_spans(tmp_path / "log") == list(range(num_spans))
    counts = [check_span(tmp_path / "log", span, LOG_COLUMNS) for span in range(num_spans)]
    assert [count.matured for count in counts[3:]] == [count.fresh for count in counts[:-3]]


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", ""])
def test_a_number_that_is_not_finite_is_missing(tmp_path: Path, text: str) -> None:
    log = convert(tmp_path, [impression(1, 7, 0)], users=[user_features(1, follow_user_num=text)])
    check_span(log, 0, LOG_COLUMNS)
    (row,) = read_span(log, 0)
    assert row["follow_user_num"] is None


def test_ids_beyond_the_precision_of_a_double_stay_apart(tmp_path: Path) -> None:
    videos = [video_features(7, author_id=2**53), video_features(8, author_id=2**53 + 1)]
    log = convert(tmp_path, [impression(1, 7, 0), impression(1, 8, 0, 13.0)], videos=videos)
    assert [row["author_id"] for row in read_span(log, 0)] == [str(2**53), str(2**53 + 1)]


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [impression(1, 7, 0)])
    for file in source.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    write_kuairand(source, tmp_path / "log")
    assert len(read_span(tmp_path / "log", 0)) == 1


def test_a_header_is_never_sql(tmp_path: Path) -> None:
    # As SQL, the name would end the ordering and read a file that does not exist.
    name = (
        "user_id\") AS first, (SELECT count(*) FROM read_csv('/no/such/file')) AS size, "
        'row_number() OVER (ORDER BY "user_id'
    )
    source = write_source(tmp_path / "source", [impression(1, 7, day=0, **{name: 1})])
    write_kuairand(source, tmp_path / "log")
    assert [row["user_id"] for row in read_span(tmp_path / "log", 0)] == ["1"]


def test_a_folder_with_a_quote_in_its_name_is_read(tmp_path: Path) -> None:
    source = write_source(tmp_path / "it's'] --", [impression(1, 7, day=0)])
    write_kuairand(source, tmp_path / "log")
    assert len(read_span(tmp_path / "log", 0)) == 1
