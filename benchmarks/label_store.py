"""Measures the label store against Beam's WriteToBigQuery (writes) and minimal readers (scans).

Each ratio is the reference's time divided by ours: above 1, ours is faster. The generation of the labels is
not timed.

    ratio          reference                                       ours
    write          WriteToBigQuery (dict rows, load jobs)          Beam job and publication in BigQuery
    scan_delta     pyarrow, the same Parquet files                 `scan` of the Delta store
    scan_bigquery  Storage Read API, messages only counted         `scan` of the BigQuery store

BigQuery is a server on this machine. A label row has soft labels of four tasks.

Usage: `python -m benchmarks.label_store [--labels 1000000]`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

import models  # noqa: F401  # sets environment variables before TensorFlow is imported
from eventlog.parquet_files import open_file, read_table, write_table

BUCKET = "labels"
ROWS_PER_SHARD = 50_000
TASKS = ("click", "long_view", "like", "profile_enter")
REPEATS = 5
BEAM_OPTIONS = ("--runner=FnApiRunner",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=1_000_000, help="number of label rows")
    num_labels = parser.parse_args(arguments).labels
    from testing.bigquery_server import running
    from testing.storage_server import cloud_storage

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    with tempfile.TemporaryDirectory(prefix="label-store-") as name:
        folder = Path(name)
        shards = write_shards(folder / "generated", num_labels)
        with running(folder / "server") as server, cloud_storage(folder / "server", BUCKET):
            ratios, figures = measure(folder, server, shards, num_labels)
    for name, value in figures.items():
        print(f"{name:28} {value:12,.0f} label rows/s")
    rounded = {name: round(value) for name, value in figures.items()}
    print("BENCH " + json.dumps({"name": "label_store", "ratios": ratios, "labels_per_second": rounded}))


def measure(
    folder: Path, server: Any, shards: list[str], num_labels: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the three ratios, and the label rows per second of each measured operation.

    Raises:
        ValueError: if an operation writes or reads another number of label rows than `num_labels`.
    """
    from components.label_store.bigquery.location import parse_location
    from components.label_store.schemes import open_store

    uri = server.store_uri("ours", f"gs://{BUCKET}/staging")
    location = parse_location(uri.removeprefix("bigquery://"))
    open_store(uri).initialize()
    warm_up = shards[:1]
    write_ours(uri, warm_up, folder)
    write_stock(server, warm_up)
    bigquery_seconds, bigquery_record = _run_timed(lambda: write_ours(uri, shards, folder))
    stock_seconds, stock_rows = write_stock(server, shards)
    delta_uri = f"delta:{folder / 'delta'}"
    delta_record = write_ours(delta_uri, shards, folder)
    if {bigquery_record.rows, delta_record.rows, stock_rows - _num_rows(warm_up)} != {num_labels}:
        raise ValueError(
            f"expected {num_labels} label rows in each store, got {bigquery_record.rows} in BigQuery, "
            f"{delta_record.rows} in Delta and {stock_rows - _num_rows(warm_up)} by WriteToBigQuery."
        )
    files = sorted((folder / "delta").glob(f"label_set={delta_record.set_id}/*.parquet"))
    columns = ["example_id", *(f"soft_{task}" for task in TASKS)]
    readers = {
        "scan_delta": lambda: _num_batch_rows(open_store(delta_uri).scan(delta_record.set_id, columns)),
        "read_parquet": lambda: sum(read_table(file, columns=columns).num_rows for file in files),
        "scan_bigquery": lambda: _num_batch_rows(open_store(uri).scan(bigquery_record.set_id, columns)),
        "read_session": lambda: read_session(location, bigquery_record, columns),
    }
    seconds = _median_seconds(readers, num_labels)
    ratios = {
        "write": stock_seconds / bigquery_seconds,
        "scan_delta": seconds["read_parquet"] / seconds["scan_delta"],
        "scan_bigquery": seconds["read_session"] / seconds["scan_bigquery"],
    }
    seconds |= {"write_ours": bigquery_seconds, "write_stock": stock_seconds}
    return (
        {name: round(ratio, 3) for name, ratio in ratios.items()},
        {name: num_labels / duration for name, duration in sorted(seconds.items())},
    )


def _median_seconds(readers: dict[str, Callable[[], int]], num_labels: int) -> dict[str, float]:
    """Returns the median seconds of each reader over `REPEATS` interleaved calls."""
    durations: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(REPEATS):
        for name, read in readers.items():
            seconds, rows = _run_timed(read)
            if rows != num_labels:
                raise ValueError(f"{name}: expected {num_labels} label rows, got {rows}.")
            durations[name].append(seconds)
    return {name: statistics.median(times) for name, times in durations.items()}


def _run_timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the seconds of a call and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def write_shards(folder: Path, num_labels: int) -> list[str]:
    """Writes random label rows as Parquet files; returns the paths."""
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
        write_table(pa.table(columns, schema=row_schema(TASKS)), paths[-1])
    return paths


def _num_rows(shards: Sequence[str]) -> int:
    return sum(open_file(shard).metadata.num_rows for shard in shards)


def write_ours(uri: str, shards: Sequence[str], folder: Path) -> Any:
    """Stages the shards in a Beam job and publishes them as a label set; returns the set's record."""
    import dataclasses
    import uuid

    import apache_beam as beam

    from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, StagedShard
    from components.label_store.schemes import open_store
    from components.transforms.collecting import run_and_collect

    store = open_store(uri)
    column = SoftColumn(kind="binary", link="sigmoid", unit="probability")
    key = LabelSetKey(teacher="bench", teacher_version=uuid.uuid4().hex, span=1)
    writer = store.stage(key, dict.fromkeys(TASKS, column))
    staged = run_and_collect(
        lambda pipeline: (
            pipeline
            | beam.Create(list(shards))
            | beam.Reshuffle()
            | beam.Map(lambda path: (Path(path).stem, read_table(path)))
            | beam.MapTuple(writer.write)
            | beam.Map(dataclasses.asdict)
        ),
        BEAM_OPTIONS,
        str(folder / "scratch"),
    )
    facts = SetFacts(feature_version="1", label_age_spans=1, seconds=0.0)
    return store.publish(writer, [StagedShard(**fields) for fields in staged], facts)


def write_stock(server: Any, shards: Sequence[str]) -> tuple[float, int]:
    """Writes with Beam's WriteToBigQuery (dict rows, load jobs).

    Returns:
        The seconds of the Beam job, and the number of rows that its table then has.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from testing.bigquery_server import PROJECT

    schema = "example_id:STRING,event_date:DATE,surface:STRING," + ",".join(
        f"soft_{task}:FLOAT64" for task in TASKS
    )
    options = PipelineOptions([*BEAM_OPTIONS, f"--project={PROJECT}"])
    with _beam_connected_to(server) as client:
        client.create_dataset("stock", exists_ok=True)
        start = time.perf_counter()
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
        seconds = time.perf_counter() - start
        (row,) = client.query_and_wait("SELECT COUNT(*) FROM stock.labels")
        return seconds, int(row[0])


@contextlib.contextmanager
def _beam_connected_to(server: Any) -> Iterator[Any]:
    """Redirects WriteToBigQuery to `server`, for which it has no option; yields a BigQuery client."""
    import google.auth
    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp.internal.clients.bigquery import bigquery_v2_client
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    from testing.bigquery_server import PROJECT

    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    options = {"api_endpoint": server.endpoint}
    with (
        mock.patch.object(google.auth, "default", lambda *_, **__: (credentials, PROJECT)),
        mock.patch.object(auth._Credentials, "_credentials", auth._ApitoolsCredentialsAdapter(credentials)),
        mock.patch.object(auth._Credentials, "_credentials_init", True),
        mock.patch.object(bigquery_v2_client.BigqueryV2, "BASE_URL", f"{server.endpoint}/bigquery/v2/"),
        mock.patch.dict(os.environ, BIGQUERY_EMULATOR_HOST=server.endpoint),
    ):
        yield bigquery.Client(project=PROJECT, credentials=credentials, client_options=options)


def _dict_rows(path: str) -> Iterator[dict[str, Any]]:
    for row in read_table(path).to_pylist():
        yield row | {"event_date": row["event_date"].isoformat()}


def read_session(location: Any, record: Any, columns: Sequence[str]) -> int:
    """Receives the messages of a read session without decoding rows; returns the sum of the row counts."""
    from components.label_store.bigquery.reading import open_session

    client = location.read_client()
    session = open_session(client, location, record, columns, None)
    return sum(message.row_count for stream in session.streams for message in client.read_rows(stream.name))


def _num_batch_rows(batches: Iterator[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


if __name__ == "__main__":
    main()
