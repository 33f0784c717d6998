from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from components.transforms.encode_events import (
    EncodeEvents,
    RowRange,
    holdout_mask,
    plan_shards,
    read_row_range,
    split_rows,
)
from components.transforms.shards import SPLITS, read_shards, split_files
from eventlog import spans
from eventlog.errors import BadInput
from eventlog.kuairand.columns import LOG_COLUMNS, LOG_SCHEMA

SPAN = 3
TRAINED_USER, HELD_USER = "user-0", "user-34"


def rows_of(users: list[str], impression_span: int, first_time: int) -> list[dict[str, Any]]:
    return [
        {
            "example_id": f"{impression_span}-{position}",
            "event_time_ms": first_time + position,
            "impression_span": impression_span,
            "surface": "tab_1",
            "cluster_id": user,
            "tag": ["a", "b"] if position % 2 else None,
            "duration_seconds": 1.5,
            "label_click" if impression_span == SPAN else "label_ltv": 1.0,
        }
        for position, user in enumerate(users)
    ]


def labels(**counts: int) -> dict[str, int]:
    """Counts of all tasks; 0 for those without a value."""
    return {f"label_{task}": counts.get(task, 0) for task in LOG_COLUMNS.delays}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=LOG_SCHEMA)


def log_with(folder: Path, rows: list[dict[str, Any]]) -> Path:
    for span in range(SPAN):
        spans.write_span(folder, span, [table_of(rows_of(["u"], span, 0))])
    spans.write_span(folder, SPAN, [table_of(rows)])
    return folder


def encode(log: Path, uri: Path, rows_per_shard: int, expected: list[dict[str, int]] | None = None) -> None:
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        counts = pipeline | EncodeEvents(str(log), LOG_COLUMNS, SPAN, str(uri), rows_per_shard)
        if expected is not None:
            assert_that(counts, equal_to(expected))


def test_shards_are_even_contiguous_and_within_one_file() -> None:
    assert plan_shards([("a", 5), ("b", 3)], rows_per_shard=3) == [
        RowRange(shard=0, file="a", first_row=0, num_rows=2),
        RowRange(shard=1, file="a", first_row=2, num_rows=3),
        RowRange(shard=2, file="b", first_row=0, num_rows=3),
    ]


def test_a_file_without_rows_is_one_shard_without_rows() -> None:
    assert plan_shards([("a", 0)], rows_per_shard=3) == [RowRange(shard=0, file="a", first_row=0, num_rows=0)]


def test_zero_rows_per_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="rows_per_shard must be >= 1, got 0"):
        plan_shards([("a", 5)], rows_per_shard=0)


def test_five_percent_of_the_clusters_are_held_out_by_cluster_id_alone() -> None:
    users = pa.array([f"user-{number}" for number in range(20_000)])
    mask = holdout_mask(users)
    assert 0.045 < mask.mean() < 0.055
    np.testing.assert_array_equal(holdout_mask(users.slice(100, 50)), mask[100:150])
    # These must never change: a newly held-out cluster would have been trained on.
    assert [position for position in range(60) if mask[position]] == [34, 35, 44, 52]


def test_rows_are_split_by_kind_and_cluster_in_order() -> None:
    rows = rows_of([TRAINED_USER, HELD_USER], 0, 0) + rows_of(
        [HELD_USER, TRAINED_USER, TRAINED_USER], SPAN, 9
    )
    parts = split_rows(table_of(rows), SPAN)
    assert {split: part["example_id"].to_pylist() for split, part in parts.items()} == {
        "train": ["3-1", "3-2"],
        "holdout": ["3-0"],
        "matured": ["0-0"],
        "matured_holdout": ["0-1"],
    }


def test_a_slice_is_read_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "ROW_GROUP_ROWS", 2)
    log = log_with(tmp_path, rows_of(["u"] * 7, SPAN, 0))
    (file,) = spans.span_files(log, SPAN)
    rows = read_row_range(RowRange(shard=0, file=str(file), first_row=3, num_rows=3), LOG_SCHEMA)
    assert rows["example_id"].to_pylist() == ["3-3", "3-4", "3-5"]


def test_the_examples_of_all_shards_are_the_rows_of_the_span_in_order(tmp_path: Path) -> None:
    users = [HELD_USER if position % 3 == 0 else TRAINED_USER for position in range(10)]
    rows = rows_of(users[:4], 0, 0) + rows_of(users, SPAN, 100)
    encode(
        log_with(tmp_path / "log", rows),
        tmp_path / "examples",
        rows_per_shard=7,
        expected=[
            {"shard": 0, "read": 7, "train": 2, "holdout": 1, "matured": 2, "matured_holdout": 2}
            | labels(click=2, ltv=2),
            {"shard": 1, "read": 7, "train": 4, "holdout": 3, "matured": 0, "matured_holdout": 0}
            | labels(click=4),
        ],
    )
    parts = split_rows(table_of(rows), SPAN)
    for split in SPLITS:
        files = split_files(str(tmp_path / "examples"), split)
        assert [Path(file).name for file in files] == [
            "span-00003-00000-of-00002.gz",
            "span-00003-00001-of-00002.gz",
        ]
        read = [batch for file in files for batch in read_shards([file], 100, LOG_SCHEMA)]
        assert pa.Table.from_batches(read).to_pylist() == parts[split].to_pylist()


def test_every_split_has_its_shard_file_even_without_rows(tmp_path: Path) -> None:
    encode(log_with(tmp_path / "log", rows_of([TRAINED_USER], SPAN, 0)), tmp_path / "examples", 10)
    batches = {
        split: read_shards(split_files(str(tmp_path / "examples"), split), 10, LOG_SCHEMA) for split in SPLITS
    }
    sizes = {split: sum(batch.num_rows for batch in parts) for split, parts in batches.items()}
    assert sizes == {"train": 1, "holdout": 0, "matured": 0, "matured_holdout": 0}


def test_a_missing_span_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    log = log_with(tmp_path / "log", rows_of(["u"], SPAN, 0))
    with (
        pytest.raises(
            BadInput, match="missing span: expected one of the 4 complete spans, up to 3, got span 9"
        ),
        beam.Pipeline(runner="DirectRunner") as pipeline,
    ):
        _ = pipeline | EncodeEvents(str(log), LOG_COLUMNS, 9, str(tmp_path / "examples"))
    assert not (tmp_path / "examples").exists()
