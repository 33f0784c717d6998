from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventlog.errors import BadInput
from models.distillation import Distillation
from models.reading import ExampleReader, shards_by_span
from models.transform_graph import TransformGraph
from tests.models.tiny_world import job, random_columns, write_shard

DIRECT = {"click": Distillation(strategy="direct")}


@pytest.fixture(scope="module")
def reader(graph_dir: Path) -> ExampleReader:
    student = job("student", distillation=DIRECT, batch_size=64)
    return ExampleReader(student, TransformGraph(str(graph_dir), student.features))


def hours(reader: ExampleReader, files: list[str], **order: int) -> list[int]:
    return [int(hour) for features, _ in reader.blocks(files, **order) for hour in features["hour"]]


def test_shards_are_grouped_by_span_in_ascending_order(tmp_path: Path) -> None:
    names = [
        "a/span-00010-00000-of-00001.gz",
        "a/span-00002-00001-of-00002.gz",
        "b/span-00002-00000-of-00002.gz",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    spans = shards_by_span([f"{tmp_path}/a/*", f"{tmp_path}/b/*"])
    assert list(spans) == [2, 10]
    assert spans[2] == [
        f"{tmp_path}/a/span-00002-00001-of-00002.gz",
        f"{tmp_path}/b/span-00002-00000-of-00002.gz",
    ]


def test_no_shards_and_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no examples to read: expected at least one shard, got none"):
        shards_by_span([f"{tmp_path}/*"])
    (tmp_path / "examples.gz").touch()
    with pytest.raises(BadInput, match=r"examples.gz: no examples to read: expected a name like span-00003"):
        shards_by_span([f"{tmp_path}/*"])


def test_a_pass_reads_every_example_once_in_the_order_of_its_seed(
    reader: ExampleReader, shards: Path
) -> None:
    files = shards_by_span([f"{shards}/*"])[3]
    first = hours(reader, files, span=3, reading_pass=0)
    assert len(first) == 160
    assert hours(reader, files, span=3, reading_pass=0) == first
    other = hours(reader, files, span=3, reading_pass=1)
    assert other != first
    assert sorted(other) == sorted(first)


def test_labels_have_masks_and_hard_labels_are_on_the_tasks_scale(
    reader: ExampleReader, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"label_click": 1.0, "label_watch_time": 6.0, "soft_click": 0.25, "soft_watch_time": 9.0},
        {"label_like": 0.0},
    ]
    write_shard(tmp_path / "span-00000-00000-of-00001.gz", rows)
    blocks = reader.blocks([str(tmp_path / "span-00000-00000-of-00001.gz")], span=0, reading_pass=0)
    (_, targets), *more = list(blocks)
    assert not more
    # The order of the two rows depends on the seed.
    full = 0 if targets.hard_where.numpy()[0, 0] else 1
    np.testing.assert_allclose(targets.hard[full, :2], [1.0, math.log(7)], rtol=1e-6)
    np.testing.assert_array_equal(targets.hard_where.numpy()[[full, 1 - full]], [[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(targets.soft_where.numpy()[[full, 1 - full]], [[True], [False]])
    np.testing.assert_allclose(targets.soft[full], [0.25])


def test_a_teacher_has_no_soft_labels(graph_dir: Path, shards: Path) -> None:
    teacher = job("teacher")
    reader = ExampleReader(teacher, TransformGraph(str(graph_dir), teacher.features))
    files = shards_by_span([f"{shards}/*"])[4]
    _, targets = next(iter(reader.blocks(files, span=4, reading_pass=0)))
    assert targets.soft.shape == (80, 0)
    np.testing.assert_array_equal(targets.hard_where[:, 0], [True] * 80)


def test_a_matured_row_may_have_only_its_label(reader: ExampleReader, tmp_path: Path) -> None:
    path = tmp_path / "span-00000-00000-of-00001.gz"
    write_shard(path, [{"label_like": row["label_click"]} for row in random_columns(3, seed=1)])
    ((features, targets),) = list(reader.blocks([str(path)], span=0, reading_pass=0))
    np.testing.assert_array_equal(features["user_id"], [0, 0, 0])
    np.testing.assert_array_equal(targets.hard_where.numpy().sum(axis=0), [0, 0, 3])


def test_label_totals_ignore_missing_labels_and_sum_over_files(reader: ExampleReader, tmp_path: Path) -> None:
    write_shard(
        tmp_path / "0.gz", [{"label_click": 1.0, "label_watch_time": math.e - 1}, {"label_click": 0.0}]
    )
    write_shard(tmp_path / "1.gz", [{"label_click": 1.0, "label_watch_time": 0.0}])
    sums, counts = reader.label_totals([str(tmp_path / "0.gz"), str(tmp_path / "1.gz")])
    np.testing.assert_allclose(sums, [2.0, 1.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(counts, [3.0, 2.0, 0.0])
