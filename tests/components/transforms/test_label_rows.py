"""Labels written and read by Beam, with workers in this process and in other processes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, StagedShard, row_schema
from components.label_store.schemes import open_store
from components.transforms.collecting import run_and_collect
from components.transforms.label_rows import ReadLabels
from testing.bigquery_server import missing_python, running
from testing.storage_server import cloud_storage

KEY = LabelSetKey(teacher="big", teacher_version="7", span=3)
CLICK = SoftColumn(kind="binary", link="sigmoid", unit="probability")
IN_PROCESS = ["--runner=FnApiRunner"]
PROCESSES = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def row_functions():
    """Functions that the workers run; defined inside a function, so that they are pickled by value."""

    def make_shard(number: int) -> tuple[str, pa.Table]:
        ids = [f"{number}-{row}" for row in range(50)]
        day, surface = datetime.date(2022, 4, 25), "feed" if number % 2 else "search"
        columns = [ids, [day] * 50, [surface] * 50, [row / 64 for row in range(50)]]
        return f"shard-{number}", pa.table(columns, schema=row_schema(["click"]))

    def ids_and_labels(set_id: str, batch: pa.RecordBatch) -> list[list]:
        return [[set_id, *row] for row in zip(*batch.to_pydict().values(), strict=True)]

    return make_shard, ids_and_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the BigQuery server."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder):
    missing = missing_python()
    if missing:
        pytest.skip(missing)
    with running(folder, threads=1) as server:
        yield server


def read_lines(rows, options: list[str], scratch: str) -> list:
    """Rows that a pipeline yields; as text files, so that workers need not import TensorFlow (10 s)."""
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        _ = pipeline | rows | beam.Map(json.dumps) | beam.io.WriteToText(f"{scratch}/rows")
    return [json.loads(line) for path in Path(scratch).glob("rows*") for line in path.open()]


def write_and_read(uri: str, options: list[str], scratch: str) -> None:
    make_shard, ids_and_labels = row_functions()
    store = open_store(uri)
    writer = store.stage(KEY, {"click": CLICK})
    staged = run_and_collect(
        lambda pipeline: (
            pipeline
            | beam.Create(list(range(6)))
            | beam.Reshuffle()
            | beam.Map(make_shard)
            | beam.MapTuple(writer.write)
            | beam.Map(dataclasses.asdict)
        ),
        options,
        scratch,
    )
    facts = SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0)
    record = store.publish(writer, [StagedShard(**fields) for fields in staged], facts)
    assert (record.rows, record.rows_per_surface) == (300, {"feed": 150, "search": 150})
    rows = read_lines(
        ReadLabels(uri, [record.set_id], ["example_id", "soft_click"], ["feed"])
        | beam.FlatMapTuple(ids_and_labels),
        options,
        scratch,
    )
    expected = [[record.set_id, f"{n}-{row}", row / 64] for n in (1, 3, 5) for row in range(50)]
    assert sorted(rows) == sorted(expected)


def test_labels_go_into_a_delta_store_and_come_out(tmp_path):
    write_and_read(f"delta:{tmp_path}/labels", IN_PROCESS, str(tmp_path / "scratch"))


@pytest.mark.parametrize("options", [IN_PROCESS, pytest.param(PROCESSES, marks=pytest.mark.slow)])
def test_labels_go_into_bigquery_and_come_out(server, tmp_path, options):
    uri = server.store_uri(f"d{uuid.uuid4().hex}", tmp_path / "staging")
    open_store(uri).initialize()
    write_and_read(uri, options, str(tmp_path / "scratch"))


def test_shards_staged_in_cloud_storage_are_loaded_or_collected(server, folder, tmp_path):
    with cloud_storage(folder, "bucket"):
        uri = server.store_uri(f"d{uuid.uuid4().hex}", "gs://bucket/staging")
        store = open_store(uri)
        store.initialize()
        write_and_read(uri, IN_PROCESS, str(tmp_path / "scratch"))
        writer = store.stage(dataclasses.replace(KEY, span=4), {"click": CLICK})
        make_shard, _ = row_functions()
        writer.write(*make_shard(0))
        assert store.delete_unpublished(older_than_seconds=3600) == []
        assert store.delete_unpublished(older_than_seconds=-1) == [writer.set_id]
