"""Labelling a span with a known teacher through Beam into a real label store."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
import tensorflow as tf

from components.evaluation.label_checks import LabelChecks
from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, StagedShard
from components.label_store.certificate import certify
from components.label_store.publication import UnfitLabels
from components.label_store.schemes import open_store
from components.transforms.label_shards import LabelShards, label_span, soft_column, staged_shard_name
from components.transforms.shards import SPLITS, split_files, split_folder, write_shard
from eventlog.errors import BadInput
from models.shard_names import shard_name
from models.tasks import Task

COLUMNS = {
    "click": SoftColumn(kind="binary", link="sigmoid", unit="probability"),
    "watch_time": SoftColumn(kind="regression", link="identity", unit="seconds", scale="log1p"),
}
TASKS = {
    "click": Task(kind="binary", group="pet"),
    "watch_time": Task(kind="regression", group="pet", unit="seconds", scale="log1p"),
}
KEY = LabelSetKey(teacher="big", teacher_version="7", span=3)
OPTIONS = ["--runner=FnApiRunner"]
SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("event_time_ms", pa.int64(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("amount", pa.float32()),
    ]
)
NEW_YEAR_MS = 1_640_995_200_000
"""2022-01-01 00:00 UTC."""


class KnownTeacher(tf.Module):
    """click = amount / 10, watch_time = 2 * amount."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        amount = tf.io.parse_example(examples, {"amount": tf.io.FixedLenFeature([], tf.float32)})["amount"]
        return {"click": amount / 10.0, "watch_time": amount * 2.0}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    uri = tmp_path_factory.mktemp("teacher")
    module = KnownTeacher()
    tf.saved_model.save(module, str(uri / "Format-Serving"), signatures={"serving_default": module.serve})
    return str(uri)


def write_examples(folder: Path, rows: dict[str, list[tuple]]) -> str:
    """Two shards per split; a row is (example_id, event_time_ms, surface, amount)."""
    for split in SPLITS:
        for shard in range(2):
            part = rows.get(split, [])[shard::2]
            columns = {name: [row[index] for row in part] for index, name in enumerate(SCHEMA.names)}
            batch = pa.RecordBatch.from_pydict(columns, schema=SCHEMA)
            write_shard(f"{split_folder(str(folder), split)}/{shard_name(3, shard, 2)}", batch)
    return str(folder)


ROWS = {
    "train": [
        ("a", NEW_YEAR_MS - 1, "feed", 1.0),
        ("b", NEW_YEAR_MS, "feed", 2.0),
        ("c", NEW_YEAR_MS + 86_399_999, "search", 3.0),
    ],
    "holdout": [("d", NEW_YEAR_MS + 86_400_000, "feed", 4.0)],
    "matured": [("m", 0, "feed", 5.0)],
}


def label(tmp_path, teacher, rows=ROWS, tasks=TASKS, examples_uri="", checks=None, **options):
    return label_span(
        examples_uri=examples_uri or write_examples(tmp_path / "examples", rows),
        model_uri=teacher,
        store_uri=f"delta:{tmp_path}/labels",
        key=KEY,
        tasks=tasks,
        feature_version="f1",
        label_age_spans=1,
        ready_ms=NEW_YEAR_MS,
        beam_options=OPTIONS,
        scratch=str(tmp_path / "scratch"),
        checks=checks or LabelChecks(),
        **options,
    )


def read_set(tmp_path, set_id) -> list[tuple]:
    names = ["example_id", "event_date", "surface", "soft_click", "soft_watch_time"]
    batches = open_store(f"delta:{tmp_path}/labels").scan(set_id, names)
    rows = [row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True)]
    return sorted((*row[:3], round(row[3], 6), row[4]) for row in rows)


def test_every_fresh_example_and_no_matured_one_is_labelled(tmp_path, teacher):
    labelled = label(tmp_path, teacher)
    assert read_set(tmp_path, labelled.record.set_id) == [
        ("a", datetime.date(2021, 12, 31), "feed", 0.1, 2.0),
        ("b", datetime.date(2022, 1, 1), "feed", 0.2, 4.0),
        ("c", datetime.date(2022, 1, 1), "search", 0.3, 6.0),
        ("d", datetime.date(2022, 1, 2), "feed", 0.4, 8.0),
    ]
    assert (labelled.record.rows, labelled.record.columns) == (4, COLUMNS)
    assert labelled.record.facts.seconds > 0
    age_seconds = time.time() - NEW_YEAR_MS / 1000
    assert labelled.record.facts.extra["lag_seconds"] == pytest.approx(age_seconds, abs=60)
    assert labelled.examples_per_surface == {"feed": 3, "search": 1}
    assert certify(labelled.record, labelled.examples_per_surface).coverage == {"feed": 1.0, "search": 1.0}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_second_labelling_returns_the_set_of_the_first(tmp_path, teacher):
    first = label(tmp_path, teacher)
    assert label(tmp_path, teacher).record == first.record


def test_superseding_publishes_a_second_revision_and_keeps_the_first(tmp_path, teacher):
    first = label(tmp_path, teacher)
    second = label(tmp_path, teacher, supersede=True)
    assert (first.record.revision, second.record.revision) == (1, 2)
    assert first.record.key == second.record.key
    store = open_store(f"delta:{tmp_path}/labels")
    assert [record.set_id for record in store.list_sets()] == [first.record.set_id, second.record.set_id]


def test_a_span_without_examples_gives_a_set_without_rows(tmp_path, teacher):
    labelled = label(tmp_path, teacher, rows={})
    assert (labelled.record.rows, labelled.examples_per_surface) == (0, {})


def test_bundles_that_run_twice_leave_one_visible_copy(tmp_path, teacher):
    files = split_files(write_examples(tmp_path / "examples", ROWS), "train")
    store = open_store(f"delta:{tmp_path}/labels")
    writer = store.stage(KEY, COLUMNS)
    staged: Path = tmp_path / "staged"
    staged.mkdir()

    def write(shard) -> None:
        (staged / f"{shard.path.replace('/', '-')}.json").write_text(json.dumps(vars(shard)))

    with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(OPTIONS)) as pipeline:
        labels = pipeline | LabelShards(files * 2, teacher, writer, tuple(COLUMNS), str(tmp_path / "samples"))
        _ = labels | beam.Map(write)
    shards = [StagedShard(**json.loads(path.read_text())) for path in staged.iterdir()]
    assert len(shards) == 4
    record = store.publish(writer, shards, SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0))
    assert record.rows == 3
    assert [row[0] for row in read_set(tmp_path, record.set_id)] == ["a", "b", "c"]


def test_labels_out_of_range_are_not_published(tmp_path, teacher):
    rows = {"train": [("a", 0, "feed", 10.5)]}
    with pytest.raises(BadInput, match=r"\[0, 1\], got soft_click = 1\.0[45]\d* of example 'a'"):
        label(tmp_path, teacher, rows=rows)
    assert open_store(f"delta:{tmp_path}/labels").list_sets() == []


def test_labels_that_drift_are_published_with_a_warning_or_refused(tmp_path, teacher, caplog):
    limits = {"drift": 0.1, "min_rows": 1}
    low = {"train": [(f"{n}", NEW_YEAR_MS, "feed", 1.0 + n / 1000) for n in range(200)]}
    high = {"train": [(f"{n}", NEW_YEAR_MS, "feed", 6.0 + n / 1000) for n in range(200)]}
    previous = label(tmp_path / "previous", teacher, rows=low).statistics

    with pytest.raises(
        UnfitLabels, match=r"labels of span 3: 2 drift anomalies: .* got feed, soft_click: .*Jensen"
    ):
        label(tmp_path, teacher, rows=high, previous=previous, checks=LabelChecks(**limits, on_drift="stop"))
    assert open_store(f"delta:{tmp_path}/labels").list_sets() == []
    labelled = label(tmp_path, teacher, rows=high, previous=previous, checks=LabelChecks(**limits))
    assert labelled.record.rows == 200
    assert len(labelled.anomalies["drift"]) == 2
    assert "drift: feed, soft_click" in caplog.text
    same = label(tmp_path / "same", teacher, rows=low, previous=previous, checks=LabelChecks(**limits))
    assert same.anomalies == {"drift": [], "skew": []}


def test_the_record_has_the_times_of_all_stages(tmp_path, teacher):
    record = label(tmp_path, teacher).record
    certificate = certify(record, {"feed": 3})
    assert certificate.event_ms == NEW_YEAR_MS + 86_400_000
    assert certificate.ready_ms == NEW_YEAR_MS < certificate.labelled_ms <= certificate.published_ms


def test_a_task_the_teacher_lacks_is_refused(tmp_path, teacher):
    tasks = TASKS | {"like": TASKS["click"]}
    with pytest.raises(BadInput, match="no task like: expected one of click, watch_time, got like") as error:
        label(tmp_path, teacher, tasks=tasks)
    assert "while running" not in str(error.value)
    assert open_store(f"delta:{tmp_path}/labels").list_sets() == []


def test_labels_of_an_example_in_two_splits_are_not_published(tmp_path, teacher):
    rows = ROWS | {"holdout": [("a", 0, "feed", 1.0)]}
    with pytest.raises(BadInput, match="labelled twice: expected each example_id once in a span, got a"):
        label(tmp_path, teacher, rows=rows)
    assert open_store(f"delta:{tmp_path}/labels").list_sets() == []


def test_a_truncated_shard_is_refused(tmp_path, teacher):
    uri = write_examples(tmp_path / "broken", ROWS)
    file = Path(split_files(uri, "train")[0])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadInput, match="the examples cannot be scored"):
        label(tmp_path, teacher, examples_uri=uri)
    assert open_store(f"delta:{tmp_path}/labels").list_sets() == []


def test_a_staged_shard_is_named_after_split_and_shard():
    file = "gs://bucket/examples/Split-holdout/span-00003-00000-of-00004.gz"
    assert staged_shard_name(file) == "holdout-span-00003-00000-of-00004"


def test_a_soft_column_describes_its_task():
    binary = Task(kind="binary", group="pet")
    regression = Task(kind="regression", group="pet", unit="seconds", scale="log1p")
    assert {"click": soft_column(binary), "watch_time": soft_column(regression)} == COLUMNS
