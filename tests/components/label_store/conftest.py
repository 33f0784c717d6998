"""Fixtures of the label store's tests: the backends, and labels to publish."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
import sys
import time  # noqa: F401  used by the scripts of start_python
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.schemes import open_store
from testing.bigquery_server import BigQueryServer, missing_python, running

ROOT = Path(__file__).resolve().parents[3]
GCP_STORE = "RANKDISTILL_GCP_STORE"
"""Environment variable: URI of a store in a real project; each test creates and drops its own dataset."""
BACKENDS = [
    "delta",
    "bigquery",
    pytest.param("bigquery_stock", marks=pytest.mark.slow),
    pytest.param("gcp", marks=pytest.mark.gcp),
]
CLICK = SoftColumn(kind="binary", link="sigmoid", unit="probability")
WATCH = SoftColumn(kind="regression", link="identity", unit="seconds", scale="log1p")


@pytest.fixture(scope="session")
def bigquery(tmp_path_factory) -> Iterator[BigQueryServer]:
    """A server with fault injection."""
    yield from _server(tmp_path_factory.mktemp("bigquery"), patched=True)


@pytest.fixture(scope="session")
def bigquery_stock(tmp_path_factory) -> Iterator[BigQueryServer]:
    """A server without our patches, so that the contract also holds without them."""
    yield from _server(tmp_path_factory.mktemp("bigquery_stock"), patched=False)


def _server(data: Path, *, patched: bool) -> Iterator[BigQueryServer]:
    missing = missing_python()
    if missing:
        pytest.skip(missing)
    with running(data, patched=patched, threads=1) as server:
        yield server


@pytest.fixture(params=BACKENDS)
def uri(request, tmp_path) -> Iterator[str]:
    if request.param == "delta":
        yield f"delta:{tmp_path}/labels"
    elif request.param == "gcp":
        yield from _gcp_dataset()
    else:
        server = request.getfixturevalue(request.param)
        uri = server.store_uri(f"d{uuid.uuid4().hex}", tmp_path / "staging")
        open_store(uri).initialize()
        yield uri
        server.drop_results()


def _gcp_dataset() -> Iterator[str]:
    if GCP_STORE not in os.environ:
        pytest.skip(f"no real project is configured: {GCP_STORE} is not set")
    from components.label_store.bigquery.location import parse_location

    parent = parse_location(os.environ[GCP_STORE].removeprefix("bigquery://"))
    location = dataclasses.replace(parent, dataset=f"{parent.dataset}_{uuid.uuid4().hex}")
    open_store(location.uri).initialize()
    yield location.uri
    location.client().delete_dataset(location.dataset, delete_contents=True)


@pytest.fixture
def store(uri):
    return open_store(uri)


def make_table(ids, clicks, watches=None, surface: str | Sequence[str] = "feed") -> pa.Table:
    surfaces = [surface] * len(ids) if isinstance(surface, str) else list(surface)
    columns = {
        "example_id": ids,
        "event_date": [datetime.date(2022, 4, 8)] * len(ids),
        "surface": surfaces,
        "soft_click": clicks,
    }
    if watches is not None:
        columns["soft_watch_time"] = watches
    names = ["click"] + (["watch_time"] if watches is not None else [])
    return pa.table(columns, schema=row_schema(names))


def make_key(span: int = 3, teacher: str = "big") -> LabelSetKey:
    return LabelSetKey(teacher=teacher, teacher_version="7", span=span)


def publish(store, key, *tables, columns=None, **options):
    writer = store.stage(key, columns or {"click": CLICK})
    shards = [writer.write(f"shard-{number}", table) for number, table in enumerate(tables)]
    return store.publish(writer, shards, FACTS, **options)


def read_rows(store, set_id, columns=("example_id", "soft_click"), surface=None) -> list[tuple]:
    batches = store.scan(set_id, columns, surface=surface)
    return sorted(row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True))


def start_python(script: str, *arguments: str, **pipes) -> subprocess.Popen:
    """Runs a script in another process, to test concurrent processes and kill -9."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    command = [sys.executable, "-c", "from conftest import *\n" + script, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **pipes)


FACTS = SetFacts(feature_version="f1", label_age_spans=1, seconds=2.5, extra={"examples": 4.0})


@pytest.fixture
def labels() -> SimpleNamespace:
    """The functions above; test modules cannot import them."""
    functions: dict[str, Callable] = {
        function.__name__: function for function in (make_table, make_key, publish, read_rows, start_python)
    }
    return SimpleNamespace(**functions, CLICK=CLICK, WATCH=WATCH, FACTS=FACTS)
