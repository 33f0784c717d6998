"""Writes labels to BigQuery our way and Beam's, and reads both backends against the plainest reader there is.

`write` is our Beam job, from rows to a published set, over WriteToBigQuery with dict rows and load jobs, on
the same server and bucket. `scan_delta` is pyarrow reading the same Parquet over our scan; `scan_bigquery`
the Storage Read API's own stream, taken without looking at it, over our scan. Above 1 ours is the faster one.
Generating the labels is not timed. Run with `python -m benchmarks.label_store`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import models  # noqa: F401  # sets what must be set before TensorFlow is imported

BUCKET = "labels"
ROWS_PER_SHARD = 50_000
TASKS = ("click", "long_view", "like", "profile_enter")
REPEATS = 5
BEAM_OPTIONS = ("--runner=FnApiRunner",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints the BENCH line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1_000_000)
    chosen = parser.parse_args(arguments)
    from testing.bigquery_server import running
    from testing.storage_server import cloud_storage

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    with tempfile.TemporaryDirectory(prefix="label-store-") as name:
        folder = Path(name)
        shards = write_shards(folder / "generated", chosen.labels)
        with running(folder / "server") as server, cloud_storage(folder / "server", BUCKET):
            ratios, figures = measure(folder, server, shards, chosen.labels)
    for name, value in figures.items():
        print(f"{name:28} {value:12,.0f} labels/s")
    rounded = {name: round(value) for name, value in figures.items()}
    print("BENCH " + json.dumps({"name": "label_store", "ratios": ratios, "labels_per_second": rounded}))


def measure(
    folder: Path, server: Any, shards: list[str], num_labels: int
) -> tuple[dict[str, float], dict[str, float]]:
    """The three ratios, and labels per second of each side."""
    from components.label_store.bigquery.location import parse_location
    from components.label_store.schemes import open_store

    uri = server.store_uri("ours", Path("/unused")).replace(
        "staging=/unused", f"staging=gs://{BUCKET}/staging"
    )
    location = parse_location(uri.removeprefix("bigquery://"))
    open_store(uri).initialize()
    few = shards[:1]
    write_ours(uri, few, folder)
    write_stock(server, few)
    bigquery_seconds, in_bigquery = _timed(lambda: write_ours(uri, shards, folder))
    stock_seconds, stock_rows = _timed(lambda: write_stock(server, shards))
    delta = f"delta:{folder / 'delta'}"
    in_delta = write_ours(delta, shards, folder)
    if {in_bigquery.rows, in_delta.rows, stock_rows - _num_rows(few)} != {num_labels}:
        raise ValueError(
            f"wrote {in_bigquery.rows}, {in_delta.rows} and {stock_rows} labels, not {num_labels}."
        )
    files = sorted((folder / "delta").glob(f"label_set={in_delta.set_id}/*.parquet"))
    columns = ["example_id", *(f"soft_{task}" for task in TASKS)]
    sides = {
        "scan_delta": lambda: _count(open_store(delta).scan(in_delta.set_id, columns)),
        "read_parquet": lambda: sum(pq.read_table(file, columns=columns).num_rows for file in files),
        "scan_bigquery": lambda: _count(open_store(uri).scan(in_bigquery.set_id, columns)),
        "read_stream": lambda: read_stream(location, in_bigquery, columns),
    }
    seconds = _interleaved(sides, num_labels)
    ratios = {
        "write": stock_seconds / bigquery_seconds,
        "scan_delta": seconds["read_parquet"] / seconds["scan_delta"],
        "scan_bigquery": seconds["read_stream"] / seconds["scan_bigquery"],
    }
    seconds |= {"write_ours": bigquery_seconds, "write_stock": stock_seconds}
    return (
        {name: round(ratio, 3) for name, ratio in ratios.items()},
        {name: num_labels / taken for name, taken in sorted(seconds.items())},
    )


def _interleaved(sides: dict[str, Callable[[], int]], num_labels: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, read in sides.items():
            seconds, rows = _timed(read)
            if rows != num_labels:
                raise ValueError(f"{name} read {rows} labels, not {num_labels}.")
            taken[name].append(seconds)
    return {name: statistics.median(times) for name, times in taken.items()}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def write_shards(folder: Path, num_labels: int) -> list[str]:
    """Label tables as Parquet, what a teacher would have said; returns the paths."""
    from components.label_store.base import row_schema

    folder.mkdir()
    generator = np.random.default_rng(1)
    paths = []
    for first in range(0, num_labels, ROWS_PER_SHARD):
        rows = min(ROWS_PER_SHARD, num_labels - first)
        columns = [
            pa.array([f"{first + row:032x}" for row in range(rows)]),
            pa.array([datetime.date(2022, 4, 25)] * rows),
            pa.array(np.array(["home", "feed", "search"])[generator.integers(0, 3, rows)]),
            *(pa.array(generator.random(rows, np.float32)) for _ in TASKS),
        ]
        paths.append(str(folder / f"{first:012d}.parquet"))
        pq.write_table(pa.table(columns, schema=row_schema(TASKS)), paths[-1])
    return paths


def _num_rows(shards: Sequence[str]) -> int:
    return sum(pq.read_metadata(shard).num_rows for shard in shards)


def write_ours(uri: str, shards: Sequence[str], folder: Path) -> Any:
    """A Beam job that stages each shard, then one publication; returns the set's record."""
    import dataclasses
    import uuid

    import apache_beam as beam

    from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, StagedShard
    from components.label_store.schemes import open_store
    from components.transforms.collecting import run_and_collect
    from components.transforms.label_rows import StageLabels

    store = open_store(uri)
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    key = LabelSetKey(teacher="bench", teacher_version=uuid.uuid4().hex, span=1)
    writer = store.stage(key, dict.fromkeys(TASKS, column))
    staged = run_and_collect(
        lambda pipeline: (
            pipeline
            | beam.Create(list(shards))
            | beam.Reshuffle()
            | beam.Map(lambda path: (Path(path).stem, pq.read_table(path)))
            | StageLabels(writer)
            | beam.Map(dataclasses.asdict)
        ),
        BEAM_OPTIONS,
        str(folder / "scratch"),
    )
    facts = SetFacts(feature_version="1", label_age_spans=1, seconds=0.0)
    return store.publish(writer, [StagedShard(**fields) for fields in staged], facts)


def write_stock(server: Any, shards: Sequence[str]) -> int:
    """Beam's own WriteToBigQuery, dict rows in load jobs; returns the rows that are in its table."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from testing.bigquery_server import PROJECT
    from testing.stock_bigquery import pointed_at

    schema = "example_id:STRING,event_date:DATE,surface:STRING," + ",".join(
        f"soft_{task}:FLOAT64" for task in TASKS
    )
    options = PipelineOptions([*BEAM_OPTIONS, f"--project={PROJECT}"])
    with pointed_at(server) as client:
        client.create_dataset("stock", exists_ok=True)
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | beam.Create(list(shards))
                | beam.Reshuffle()
                | beam.FlatMap(_dict_rows)
                | beam.io.WriteToBigQuery(
                    f"{PROJECT}:stock.labels",
                    schema=schema,
                    method=beam.io.WriteToBigQuery.Method.FILE_LOADS,
                    custom_gcs_temp_location=f"gs://{BUCKET}/temporary",
                    write_disposition="WRITE_APPEND",
                )
            )
        (row,) = client.query_and_wait("SELECT COUNT(*) FROM stock.labels")
        return int(row[0])


def _dict_rows(path: str) -> Iterator[dict[str, Any]]:
    for row in pq.read_table(path).to_pylist():
        yield row | {"event_date": row["event_date"].isoformat()}


def read_stream(location: Any, record: Any, columns: Sequence[str]) -> int:
    """Takes the messages of one read session as they come; returns how many rows they say they hold."""
    from components.label_store.bigquery.reading import open_session

    client = location.read_client()
    session = open_session(client, location, record, columns, None)
    return sum(message.row_count for stream in session.streams for message in client.read_rows(stream.name))


def _count(batches: Iterator[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


if __name__ == "__main__":
    main()
