"""The join of examples with soft labels, on a few rows with outcomes computed by hand."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import pyarrow as pa
import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.schemes import open_store
from components.transforms.join_labels import JoinSoftLabels, add_up_counts, join_span
from components.transforms.join_report import JoinReport, read_join_report
from components.transforms.shards import SPLITS, read_shards, split_files, split_folder, write_shard
from components.transforms.without_labels import (
    fall_back_to_hard_labels,
    fall_back_to_last_models,
    too_few_labels,
)
from eventlog.errors import BadInput
from models.shard_names import shard_name

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("event_time_ms", pa.int64(), nullable=False),
        pa.field("impression_span", pa.int64(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("tag", pa.list_(pa.string())),
        pa.field("label_click", pa.float32()),
    ]
)
SOFT_LABELS = ("soft_click", "soft_ltv", "soft_returned")
JOINED = pa.schema([*SCHEMA, *(pa.field(name, pa.float32()) for name in SOFT_LABELS)])
COLUMNS = {
    "click": SoftColumn(kind="binary", link="sigmoid", unit="probability"),
    "ltv": SoftColumn(kind="regression", link="identity", unit="seconds", scale="log1p"),
    "returned": SoftColumn(kind="binary", link="sigmoid", unit="probability"),
}
DELAYS = {"click": 0, "ltv": 3, "returned": 1}
OPTIONS = ["--runner=FnApiRunner"]
"""DirectRunner falls back to FnApiRunner too, but first tries to download Prism."""
EXAMPLES = {
    "train": [("a", 30, "feed"), ("b", 10, "feed"), ("c", 20, "search"), ("d", 10, "feed")],
    "holdout": [("e", 5, "feed")],
    "matured": [("m", 1, "feed"), ("n", 2, "feed"), ("r", 8, "feed")],
    "matured_holdout": [],
}
IMPRESSION_SPANS = {"m": 0, "n": 0, "r": 2}
"""Spans of the impressions of the matured rows. All other rows are of span 3."""
SPAN_3 = [
    ("a", "feed", 0.1, 1.0, 0.7),
    ("b", "feed", 0.2, 2.0, 0.7),
    ("c", "search", 0.3, 3.0, 0.7),
    ("x", "feed", 0.4, 4.0, 0.7),
]
SPAN_2 = [("r", "feed", 0.8, 8.0, 0.75)]
SPAN_0 = [("m", "feed", 0.5, 5.0, 0.7), ("y", "search", 0.6, 6.0, 0.7)]


def write_examples(folder: Path, examples=EXAMPLES) -> str:
    for split in SPLITS:
        rows = examples[split]
        for shard in range(2):
            part = rows[shard::2]
            columns = {
                "example_id": [row[0] for row in part],
                "event_time_ms": [row[1] for row in part],
                "impression_span": [IMPRESSION_SPANS.get(row[0], 3) for row in part],
                "surface": [row[2] for row in part],
                "tag": [["t", row[0]] for row in part],
                "label_click": [1.0 for _ in part],
            }
            batch = pa.RecordBatch.from_pydict(columns, schema=SCHEMA)
            write_shard(f"{split_folder(str(folder), split)}/{shard_name(3, shard, 2)}", batch)
    return str(folder)


def publish(uri: str, span: int, rows, teacher: str = "big") -> str:
    store = open_store(uri)
    writer = store.stage(LabelSetKey(teacher=teacher, teacher_version="7", span=span), COLUMNS)
    names = row_schema(list(COLUMNS)).names
    values = [(row[0], datetime.date(2022, 4, 8), *row[1:]) for row in rows]
    table = pa.table(
        dict(zip(names, zip(*values, strict=True), strict=True)), schema=row_schema(list(COLUMNS))
    )
    facts = SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0)
    return store.publish(writer, [writer.write("shard-0", table)], facts).set_id


@pytest.fixture
def join(tmp_path) -> JoinSoftLabels:
    uri = f"delta:{tmp_path}/labels"
    return JoinSoftLabels(
        examples_uri=write_examples(tmp_path / "examples"),
        output_uri=str(tmp_path / "joined"),
        span=3,
        surface="feed",
        store_uri=uri,
        set_ids=(publish(uri, 3, SPAN_3), publish(uri, 0, SPAN_0), publish(uri, 2, SPAN_2)),
        delays=DELAYS,
        num_buckets=3,
    )


def read_joined(uri: str, split: str) -> list[list[dict]]:
    """Rows of each shard of a split, in file order."""
    return [
        [row for batch in read_shards([file], 100, JOINED) for row in batch.to_pylist()]
        for file in split_files(uri, split)
    ]


def soft_labels(uri: str, split: str) -> dict[str, tuple]:
    rows = [row for shard in read_joined(uri, split) for row in shard]
    assert len({row["example_id"] for row in rows}) == len(rows)
    labels = {row["example_id"]: tuple(row[name] for name in SOFT_LABELS) for row in rows}
    return {key: tuple(value and round(value, 6) for value in soft) for key, soft in sorted(labels.items())}


def test_rows_and_labels_of_the_earlier_name_are_the_surface_s_own(join, tmp_path):
    alone = join_span(join, OPTIONS, str(tmp_path / "scratch"))
    both = dataclasses.replace(join, was="search", output_uri=str(tmp_path / "both"))
    report = join_span(both, OPTIONS, str(tmp_path / "scratch"))
    assert (report.surface, report.fresh_rows) == ("feed", alone.fresh_rows + 1)
    assert report.labelled_fresh_rows == alone.labelled_fresh_rows + 1
    joined = soft_labels(both.output_uri, "train") | soft_labels(both.output_uri, "holdout")
    assert joined["c"][0] is not None


def test_each_row_gets_its_own_soft_labels_only(join, tmp_path):
    report = join_span(join, OPTIONS, str(tmp_path / "scratch"))
    # Fresh rows get only the immediate task. d and e have no label and stay. c belongs to another surface.
    assert soft_labels(join.output_uri, "train") == {
        "a": (0.1, None, None),
        "b": (0.2, None, None),
        "d": (None,) * 3,
    }
    assert soft_labels(join.output_uri, "holdout") == {"e": (None,) * 3}
    # A matured row gets only the tasks whose labels come with it, from the set of its impression's span.
    assert soft_labels(join.output_uri, "matured") == {
        "m": (None, 5.0, None),
        "n": (None,) * 3,
        "r": (None, None, 0.75),
    }
    assert soft_labels(join.output_uri, "matured_holdout") == {}
    assert report == JoinReport(
        surface="feed",
        fresh_rows=4,
        labelled_fresh_rows=2,
        matured_rows=3,
        labelled_matured_rows=2,
        labels_without_example=1,
    )
    assert report.coverage == 0.5
    written = json.loads((tmp_path / "joined" / "join_report.json").read_text())
    assert (written["coverage"], written["label_sets"]) == (0.5, list(join.set_ids))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_features_and_hard_labels_stay_unchanged(join, tmp_path):
    join_span(join, OPTIONS, str(tmp_path / "scratch"))
    rows = {row["example_id"]: row for shard in read_joined(join.output_uri, "train") for row in shard}
    assert rows["a"] | {"soft_click": None} == {
        "example_id": "a",
        "event_time_ms": 30,
        "impression_span": 3,
        "surface": "feed",
        "tag": ["t", "a"],
        "label_click": 1.0,
        "soft_click": None,
        "soft_ltv": None,
        "soft_returned": None,
    }


def test_every_split_has_all_shards_and_a_rerun_gives_the_same_bytes(join, tmp_path):
    join.num_buckets = 16  # More than there are rows: some buckets are empty.
    join.delays = dict.fromkeys(DELAYS, 0)  # Several soft labels in a row.
    outputs = []
    for attempt in range(2):
        join.output_uri = str(tmp_path / f"joined-{attempt}")
        join_span(join, OPTIONS, str(tmp_path / "scratch"))
        files = sorted(Path(join.output_uri).glob("Split-*/*"))
        outputs.append({f"{path.parent.name}/{path.name}": path.read_bytes() for path in files})
    names = [shard_name(3, bucket, 16) for bucket in range(16)]
    assert sorted(outputs[0]) == sorted(f"Split-{split}/{name}" for split in SPLITS for name in names)
    assert outputs[0] == outputs[1]


def test_rows_of_a_bucket_are_in_order_of_time_then_id(join, tmp_path):
    join.num_buckets = 1
    join_span(join, OPTIONS, str(tmp_path / "scratch"))
    (rows,) = read_joined(join.output_uri, "train")
    assert [row["example_id"] for row in rows] == ["b", "d", "a"]


def test_an_id_labelled_in_two_sets_is_refused_with_the_set_ids(join, tmp_path):
    join.num_buckets = 1  # The bucket has rows of all three sets.
    join.set_ids = (
        *join.set_ids,
        publish(join.store_uri, 3, [("b", "feed", 0.9, 9.0, 0.9)], teacher="other"),
    )
    with pytest.raises(
        BadInput, match=r"several labels: expected one label row .* got b\. Join each label set"
    ) as error:
        join_span(join, OPTIONS, str(tmp_path / "scratch"))
    assert join.set_ids[0] in str(error.value)
    assert join.set_ids[3] in str(error.value)
    assert join.set_ids[1] not in str(error.value)
    assert "while running" not in str(error.value)


def test_an_example_id_in_two_splits_is_refused(join, tmp_path):
    join.examples_uri = write_examples(tmp_path / "twice", EXAMPLES | {"holdout": [("a", 7, "feed")]})
    with pytest.raises(BadInput, match=r"appear twice: expected each example_id once in a span, got a\."):
        join_span(join, OPTIONS, str(tmp_path / "scratch"))


def test_an_unpublished_set_is_refused(join, tmp_path):
    join.set_ids = ("big.7.span-00009.0.nothing",)
    with pytest.raises(BadInput, match="no published set"):
        join_span(join, OPTIONS, str(tmp_path / "scratch"))


def test_without_label_sets_all_examples_are_written_and_coverage_is_zero(join, tmp_path):
    join.set_ids = ()
    report = join_span(join, OPTIONS, str(tmp_path / "scratch"))
    assert (report.fresh_rows, report.coverage) == (4, 0.0)
    assert soft_labels(join.output_uri, "train") == {"a": (None,) * 3, "b": (None,) * 3, "d": (None,) * 3}


def test_a_null_soft_label_counts_against_coverage(join, tmp_path):
    join.set_ids = (
        publish(join.store_uri, 4, [("a", "feed", None, 1.0, 0.7), ("b", "feed", 0.2, 2.0, 0.7)]),
    )
    report = join_span(join, OPTIONS, str(tmp_path / "scratch"))
    assert (report.labelled_fresh_rows, report.labels_without_example) == (1, 0)


COUNTS = [
    {"examples_read": 3},
    {"labels_read": 2},
    {"buckets": 1, "fresh_rows": 2, "matured_rows": 1, "labels_received": 2, "labels_without_example": 1},
]


def test_counts_that_agree_become_the_report():
    report = add_up_counts("feed", 1, COUNTS)
    assert report == JoinReport(surface="feed", fresh_rows=2, matured_rows=1, labels_without_example=1)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ({"examples_read": 1}, "expected 4 examples in the join, got 3"),
        ({"fresh_rows": 2}, "expected 3 examples in the join, got 5"),
        ({"labels_read": 1}, "expected 3 labels in the join, got 2"),
        ({"buckets": 1}, "expected 1 buckets in the join, got 2"),
    ],
)
def test_lost_or_repeated_rows_are_an_error(lost, message):
    with pytest.raises(RuntimeError, match=f"surface feed: {message}"):
        add_up_counts("feed", 1, [*COUNTS, lost])


def test_a_surface_without_fresh_rows_has_coverage_one():
    assert JoinReport(surface="feed").coverage == 1.0


def test_coverage_below_the_floor_is_an_error_with_surface_coverage_and_floor():
    assert too_few_labels("feed", 0.9, 0.9) is None
    error = too_few_labels("feed", 0.89991, 0.9)
    assert "surface feed: too few" in str(error)
    assert "coverage of at least 0.9000, got 0.8999" in str(error)


def test_hard_only_writes_all_examples_without_labels_of_the_span(join, tmp_path):
    without = dataclasses.replace(join, set_ids=join.set_ids[1:])
    report = fall_back_to_hard_labels(without, "no labels", OPTIONS, str(tmp_path / "scratch"))
    assert (report.decision, report.reason) == ("hard-only", "no labels")
    assert (report.fresh_rows, report.labelled_fresh_rows, report.labelled_matured_rows) == (4, 0, 2)
    assert read_join_report(join.output_uri) == report
    assert set(soft_labels(join.output_uri, "train").values()) == {(None,) * 3}
    assert len(soft_labels(join.output_uri, "train")) == 3
    assert soft_labels(join.output_uri, "matured")["m"] == (None, 5.0, None)


def test_last_writes_no_example_and_reports_the_row_counts(join, tmp_path):
    without = dataclasses.replace(join, set_ids=())
    report = fall_back_to_last_models(without, "no labels", OPTIONS, str(tmp_path / "scratch"))
    assert (report.decision, report.fresh_rows, report.matured_rows) == ("last", 4, 3)
    for split in SPLITS:
        assert read_joined(join.output_uri, split) == [[], [], []]
