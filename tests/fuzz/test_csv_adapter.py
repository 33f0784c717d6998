"""Any CSV files in KuaiRand's layout become spans that pass their check, or are refused in one line."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from eventlog.checks import check_span
from eventlog.history import STATE_FILE
from eventlog.kuairand.adapter import write_kuairand
from eventlog.kuairand.columns import LOG_COLUMNS
from eventlog.spans import SUCCESS, complete_spans
from tests.fuzz.mutation import Case, mutated
from tests.fuzz.running import accepted, corpus, kept_folder, run_case, run_examples
from tests.fuzz.tables import as_parquet, parquet_files

TARGET = "csv_adapter"
LOG, USERS, VIDEOS = "log_standard_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"
RECORD = "_log.json"
PLACES = {RECORD: RECORD, STATE_FILE: f"_history/{STATE_FILE}"}
"""Files of a log that a case may replace."""
NOON_MS = 1_651_204_800_000
TABLES: dict[str, list[dict[str, str]]] = {
    LOG: [
        {
            "user_id": user, "video_id": video, "date": str(20220429 + day), "hourmin": "1200",
            "time_ms": str(NOON_MS + 86_400_000 * day), "is_click": click, "is_like": "0", "is_comment": "0",
            "long_view": "1", "play_time_ms": "1500", "duration_ms": "20000", "is_profile_enter": "0",
            "tab": "1", "is_rand": "0",
        }
        for user, video, day, click in (("1", "7", 0, "1"), ("2", "8", 0, "0"), ("1", "8", 1, "1"))
    ],
    USERS: [
        {
            "user_id": user, "user_active_degree": "full_active", "is_live_streamer": "-124",
            "is_video_author": "1", "follow_user_num": "3", "fans_user_num": "2", "friend_user_num": "1",
            "register_days": "100", **{f"onehot_feat{trait}": "1.0" for trait in range(18)},
        }
        for user in ("1", "2")
    ],
    VIDEOS: [
        {
            "video_id": video, "author_id": "90", "upload_dt": "2022-04-19", "upload_type": "Web",
            "tag": '"3,9"',
        }
        for video in ("7", "8")
    ],
}  # fmt: skip
TOKENS = [
    b'"', b'""', b",", b";", b"\t", b"|", b"\r\n", b"\n\n", b"'", b"\\", b"#", b"\xef\xbb\xbf", b"\xc3\x28",
    "\u00a0".encode(), "\u2028".encode(), b"9" * 19, b"9" * 400, b"-", b"1e400", b"nan", b"inf", b"NULL",
    b"0x1",    b"1.5", b"-124", b"20220430", b"user_id", b"x" * 5000,
]  # fmt: skip
CELLS = st.sampled_from(
    [
        "", " ", "-124", "-1", "0", "1", "2", "1.0", "1.5", "-0", "+1", "1e3", "1e400", "nan", "inf", "-inf",
        "NULL", "true", "9" * 18, "9" * 19, str(2**63 - 1), str(-(2**63)), str(2**53 + 1), "9" * 400,
        "20220430",        "20220431", "99991231", "999990101", "00000000", "19691231", "2922770265961204",
        "5881580-07-11", "290000-12-31",
        "-9999-01-01", "infinity", "epoch", "2022-04-19 12:00:00", "0001-01-01 (BC)", "1,2", ",", "-124,3",
        "a'b", "a\"b", "a\\b", "\u00e9", "\u2028", "\x01", "x" * 300, "12:00", "1_000", "0x1F", "\uff11",
        str(NOON_MS), "-" + str(NOON_MS), str(NOON_MS * 1000), str(2**63 - 3_600_000),
    ]
) | st.text(max_size=6)  # fmt: skip
NAMES = st.sampled_from(
    ["day", "DAY", "ordinal", "USER_ID", "User_Id", "column0", "filename", 'a"b', "a'b", "", " user_id",
     "user_id_1", "user_id:1", "rowid", "\u00e9", "row", "hourmin", "time_ms", "tag", "video_id"]
) | st.text(max_size=4)  # fmt: skip


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def csv_text(header: list[str], rows: list[list[str]], ends: str = "\n") -> bytes:
    lines = [",".join(cells) for cells in [header, *rows]]
    return (ends.join(lines) + ends).encode("utf-8", "surrogatepass")


def shipped(name: str) -> tuple[list[str], list[list[str]]]:
    return list(TABLES[name][0]), [list(row.values()) for row in TABLES[name]]


@st.composite
def edited_tables(draw: st.DrawFn, name: str) -> bytes:
    """A valid file with other cells, columns, rows or line ends."""
    header, rows = shipped(name)
    for _ in range(draw(st.integers(1, 6))):
        column = draw(st.integers(0, len(header) - 1))
        edit = draw(
            st.sampled_from(["cell", "cell", "cell", "rename", "drop", "add", "twice", "row", "short"])
        )
        if edit == "cell" and rows:
            row, cell = draw(st.integers(0, len(rows) - 1)), draw(CELLS)
            if column < len(rows[row]):
                rows[row][column] = quoted(cell) if draw(st.booleans()) else cell
        elif edit == "rename":
            header[column] = draw(NAMES)
        elif edit == "drop" and len(header) > 1:
            header, rows = (
                [*header[:column], *header[column + 1 :]],
                [row[:column] + row[column + 1 :] for row in rows],
            )
        elif edit == "add":
            added = draw(NAMES)
            header, rows = [*header, added], [[*row, draw(CELLS)] for row in rows]
        elif edit == "twice":
            header, rows = [*header, header[column]], [row + row[column : column + 1] for row in rows]
        elif edit == "row":
            rows = draw(st.sampled_from([[], rows[:1], rows + rows, rows * 40]))
        elif rows:
            rows[-1] = rows[-1][:column]
    return csv_text(header, rows, draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])))


@st.composite
def sources(draw: st.DrawFn) -> Case:
    """Changed files of a source; the files that a case lacks are valid."""
    case: Case = {}
    for name in draw(
        st.lists(st.sampled_from([LOG, LOG, USERS, VIDEOS]), min_size=1, max_size=2, unique=True)
    ):
        content = draw(edited_tables(name) | st.just(csv_text(*shipped(name))))
        if draw(st.booleans()):
            content = draw(mutated(content, TOKENS) | st.binary(max_size=20))
        if draw(st.integers(0, 7)):
            case[name] = content
        else:
            archive = gzip.compress(content, mtime=0)
            case[f"{name}.gz"] = draw(st.just(archive) | mutated(archive))
    return case


@functools.cache
def first_day() -> Path:
    """A log that holds the first day of the valid source."""
    folder = kept_folder()
    write_source({LOG: csv_text(list(TABLES[LOG][0]), shipped(LOG)[1][:2])}, folder / "source")
    write_kuairand(folder / "source", folder / "log")
    return folder / "log"


@st.composite
def states(draw: st.DrawFn) -> Case:
    """A changed file beside the spans of a log, which the next day extends."""
    name = draw(st.sampled_from([RECORD, STATE_FILE]))
    content = (first_day() / PLACES[name]).read_bytes()
    if name == RECORD:
        dates = st.sampled_from(["9999-12-31", "0001-01-01", "2022-04-29T00", "", None, 20220429])
        record = {"source": "kuairand", "first_date": draw(dates)}
        return {name: draw(mutated(content) | st.just(json.dumps(record).encode()) | st.just(b"[" * 5_000))}
    table = pq.read_table(first_day() / PLACES[name], partitioning=None)
    span = draw(st.sampled_from([b"0", b"-1", b"-9", b"7", b"x", b"", b"\xff", b"1" * 5000]))
    return {name: draw(mutated(content) | parquet_files(table) | st.just(with_span(table, span)))}


def with_span(table: pa.Table, span: bytes) -> bytes:
    return as_parquet(table.replace_schema_metadata({b"rankdistill.span": span}))


def write_source(case: Case, source: Path) -> None:
    source.mkdir()
    for name in TABLES:
        if f"{name}.gz" not in case:
            (source / name).write_bytes(case.get(name, csv_text(*shipped(name))))
    for name, content in case.items():
        if name not in PLACES:
            (source / name).write_bytes(content)


def check(case: Case, folder: Path) -> None:
    source, log = folder / "source", folder / "log"
    write_source(case, source)
    for name in case.keys() & PLACES.keys():
        shutil.copytree(first_day(), log)
        (log / PLACES[name]).write_bytes(case[name])
    accepted(write_kuairand, source, log)
    hidden = [path.name for path in log.iterdir() if path.name.startswith(".")]
    assert not hidden, f"partial files are left: {hidden}"
    folders = list(log.glob("span=*"))
    assert all((span / SUCCESS).exists() for span in folders)
    if folders:
        for span in complete_spans(log):
            accepted(check_span, log, span, LOG_COLUMNS)


@pytest.mark.parametrize("case", corpus(TARGET))
def test_a_saved_source_becomes_spans_or_is_refused_in_one_line(case: Case) -> None:
    run_case(case, check)


def test_any_source_becomes_spans_or_is_refused_in_one_line() -> None:
    run_examples(TARGET, sources() | states(), check, examples=12)
