"""Fault injection into the BigQuery protocol: exact rows and one published set, or none, after each fault."""

from __future__ import annotations

import json
import threading
import time
import uuid
from pathlib import Path

import pytest
import requests
from google.cloud import bigquery as bigquery_client
from google.cloud.bigquery.retry import DEFAULT_RETRY

from components.label_store.base import DamagedSet
from components.label_store.bigquery import jobs
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import parse_location
from components.label_store.schemes import open_store
from testing.bigquery_server import PROJECT, running

pytestmark = pytest.mark.slow

SUBMIT = {"path": "/projects/[^/]+/jobs$", "method": "POST"}
POLL = {"path": "/jobs/", "method": "GET"}
UPLOAD_START = {"path": "/upload/", "method": "POST"}
UPLOAD = {"path": "/upload/", "method": "PUT"}
QUERY = {"path": "/queries", "method": "POST"}
RESULTS = {"path": "/queries/", "method": "GET"}
LOST_ANSWER = SUBMIT | {"status": 503, "when": "after"}
"""The server finishes a job before it answers, so a client polls only if the answer is lost."""
WHERE = {
    "submit": [SUBMIT],
    "poll": [LOST_ANSWER, POLL],
    "start of upload": [UPLOAD_START],
    "upload": [UPLOAD],
    "query": [QUERY],
    "results": [RESULTS],
}
HOW = {
    "503 before": {"status": 503, "when": "before"},
    "503 after": {"status": 503, "when": "after"},
    "429 before": {"status": 429, "when": "before"},
    "429 after": {"status": 429, "when": "after"},
    "cut before": {"drop": True, "when": "before"},
    "cut after": {"drop": True, "when": "after"},
}
RETRY_SECONDS = {"_initial": 0.05, "_maximum": 1.0}
"""Shorter pauses than the defaults of Google's clients, because the server is local."""


@pytest.fixture
def uri(bigquery, tmp_path):
    uri = bigquery.store_uri(f"d{uuid.uuid4().hex}", tmp_path / "staging")
    open_store(uri).initialize()
    yield uri
    bigquery.set_faults([])
    bigquery.drop_results()


@pytest.fixture(autouse=True)
def short_retries(monkeypatch):
    for name, seconds in RETRY_SECONDS.items():
        monkeypatch.setattr(DEFAULT_RETRY, name, seconds)
    monkeypatch.setattr(jobs, "_RUN_PAUSES", (0.05, 1.0))


@pytest.fixture
def store(uri):
    return open_store(uri)


def query(uri: str, sql: str) -> list[tuple]:
    location = parse_location(uri.removeprefix("bigquery://"))
    tables = {name: f"`{location.table(name)}`" for name in ("labels", "label_sets")}
    return [tuple(row) for row in location.client().query_and_wait(sql.format(**tables))]


def rows_by_set(uri: str) -> dict[str, tuple[int, int]]:
    """Set id → (rows, distinct ids) in the table, published or not."""
    sql = (
        "SELECT label_set, COUNT(*), COUNT(DISTINCT example_id) FROM {labels} "
        "WHERE event_date >= '2000-01-01' GROUP BY label_set"
    )
    return {set_id: (rows, ids) for set_id, rows, ids in query(uri, sql)}


def published(uri: str) -> list[str]:
    return [row[0] for row in query(uri, "SELECT entry FROM {label_sets} WHERE state = 'published'")]


def two_shards(labels, prefix="") -> list:
    return [
        labels.make_table([f"{prefix}{n}a", f"{prefix}{n}b", f"{prefix}{n}c"], [0.25, 0.5, None])
        for n in range(2)
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_connection_gives_no_answer(bigquery, when):
    bigquery.set_faults([{"path": "/datasets", "drop": True, "when": when}])
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{bigquery.endpoint}/bigquery/v2/projects/project/datasets", timeout=20)
    bigquery.set_faults([])


@pytest.mark.parametrize("where", WHERE)
def test_every_fault_leaves_exact_rows_and_one_published_set(bigquery, uri, store, labels, where):
    *first, target = WHERE[where]
    sets = []
    for span, (how, fault) in enumerate(HOW.items()):
        bigquery.set_faults([*first, target | fault | {"times": 2}])
        record = labels.publish(store, labels.make_key(span), *two_shards(labels, f"{span}-"))
        hits = bigquery.fault_hits()
        assert hits >= 1 + len(first), f"{how}: no fault was injected, so the case tests nothing"
        sets.append(record.set_id)
    bigquery.set_faults([])
    assert sorted(published(uri)) == sorted(sets)
    assert rows_by_set(uri) == dict.fromkeys(sets, (6, 6))
    assert [len(labels.read_rows(store, set_id)) for set_id in sets] == [6] * len(HOW)


def test_a_reader_sees_only_complete_sets_during_two_hundred_faults(bigquery, uri, store, labels, tmp_path):
    script = """
import json
from google.cloud.bigquery.retry import DEFAULT_RETRY
vars(DEFAULT_RETRY).update(json.loads(sys.argv[2]))
store = open_store(sys.argv[1])
for span in range(60):
    publish(store, make_key(span), *[make_table([f"{span}-{s}-{n}" for n in range(20)], [0.5] * 20)
                                     for s in range(3)])
    print(span)
    if span >= 5 and Path(sys.argv[3]).exists():
        break
"""
    enough = tmp_path / "enough"
    writer = labels.start_python(script, uri, json.dumps(RETRY_SECONDS), str(enough))
    seen: set[int] = set()
    rules = [
        rule | how | {"times": 10**6, "p": 0.1}
        for rule in (SUBMIT, POLL, UPLOAD_START, UPLOAD, QUERY, RESULTS)
        for how in HOW.values()
    ]
    hits, is_running = 0, True
    while is_running:
        is_running = writer.poll() is None
        bigquery.set_faults(rules if is_running and hits < 200 else [])
        records = store.list_sets()
        spans = {record.key.span for record in records}
        assert spans >= seen, "a visible set has disappeared"
        seen = spans
        for record in records[-1:]:
            assert len(labels.read_rows(store, record.set_id)) == record.rows == 60
        hits += bigquery.fault_hits()
        if hits >= 200:
            enough.touch()
    assert writer.returncode == 0
    assert hits >= 200
    spans = {int(line) for line in writer.stdout}
    assert seen == spans
    assert len(spans) >= 6
    sets = {record.set_id for record in store.list_sets()}
    assert rows_by_set(uri) == dict.fromkeys(sets, (60, 60))


KILLED = """
import itertools, requests, signal
store = open_store(sys.argv[1])
original = requests.Session.request
def is_killed(moment, number):
    if os.fork() == 0:
        sent = itertools.count(1)
        def request(self, *arguments, **options):
            turn = next(sent)
            if (moment, turn) == ("before", number):
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(self, *arguments, **options)
            if (moment, turn) == ("after", number):
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        requests.Session.request = request
        tables = [make_table([f"{n}a", f"{n}b", f"{n}c"], [0.25, 0.5, None]) for n in range(2)]
        publish(store, make_key(number + (100 if moment == "after" else 0)), *tables)
        os._exit(0)
    killed = os.wait()[1] != 0
    if killed:
        os.write(1, f"{moment} {number}\\n".encode())
    return killed
number = 1
while is_killed("before", number):
    number += 1
# A kill after an answer equals one before the next request; only the last answer has no next request.
# The number of requests varies, because a slow server is polled more often.
number -= 1
while not is_killed("after", number):
    number -= 1
"""


def test_a_writer_killed_at_any_request_leaves_a_complete_set_or_none(uri, store, labels):
    process = labels.start_python(KILLED, uri)
    points = process.communicate(timeout=600)[0].splitlines()
    assert process.returncode == 0
    assert len(points) >= 10
    assert points[-1].startswith("after ")
    keys = {int(line.split()[1]) + (100 if line.startswith("after") else 0) for line in points}
    for record in store.list_sets():
        assert len(labels.read_rows(store, record.set_id)) == record.rows == 6
    for span in keys:  # The next attempt at each key, as after a restart.
        labels.publish(store, labels.make_key(span), *two_shards(labels))
    sets = store.list_sets()
    assert len(sets) == len({record.key for record in sets}) >= len(keys)
    unpublished = set(rows_by_set(uri)) - {record.set_id for record in sets}
    removed = store.delete_unpublished(older_than_seconds=-1)
    assert unpublished <= set(removed)
    assert rows_by_set(uri) == {record.set_id: (6, 6) for record in sets}
    assert store.delete_unpublished(older_than_seconds=-1) == []


def test_a_server_killed_during_a_load_neither_loses_nor_duplicates_rows(tmp_path, labels):
    num_rows = 400_000
    with running(tmp_path / "server") as server:
        uri = server.store_uri("labels", tmp_path / "staging")
        store = open_store(uri)
        store.initialize()
        writer = store.stage(labels.make_key(), {"click": labels.CLICK})
        ids = [f"example-{n}" for n in range(num_rows)]
        shards = [writer.write("shard-0", labels.make_table(ids, [0.5] * num_rows))]

        def kill_and_start() -> None:
            while not any(True for _ in _jobs(store)):
                time.sleep(0.01)
            server.kill()
            server.start()

        thread = threading.Thread(target=kill_and_start)
        thread.start()
        record = store.publish(writer, shards, labels.FACTS)
        thread.join()
        assert record.rows == num_rows
        assert rows_by_set(uri) == {record.set_id: (num_rows, num_rows)}
        assert published(uri) == [record.set_id]


def _jobs(store) -> list:
    """Load jobs that the server is running."""
    client = store._jobs.client
    try:
        jobs = client.list_jobs(project=PROJECT, state_filter="running", retry=None)
        return [job for job in jobs if job.job_type == "load"]
    except Exception:
        return []


def test_of_two_concurrent_writers_the_loser_s_rows_are_invisible_and_collected(uri, store, labels):
    writers = [store.stage(labels.make_key(), {"click": labels.CLICK}) for _ in range(2)]
    records = {}

    def publish(number: int) -> None:
        table = labels.make_table(["a", "b"], [number / 4, number / 4])
        shards = [writers[number].write("shard-0", table)]
        together.wait()
        records[number] = open_store(uri).publish(writers[number], shards, labels.FACTS)

    together = threading.Barrier(2)
    threads = [threading.Thread(target=publish, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records[0] == records[1]
    winner = records[0].set_id
    (loser,) = {writer.set_id for writer in writers} - {winner}
    assert rows_by_set(uri) == {winner: (2, 2), loser: (2, 2)}, "both attempts have loaded their rows"
    assert len(labels.read_rows(store, winner)) == 2
    assert store.delete_unpublished(older_than_seconds=-1) == [loser]
    assert rows_by_set(uri) == {winner: (2, 2)}
    assert published(uri) == [winner]


def test_rows_of_a_load_reported_as_failed_are_deleted(uri, store, labels):
    """A server that dies after a load: the rows exist, but the job is reported as failed."""
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a", "b"], [0.25, 0.5]))]
    other = labels.publish(store, labels.make_key(4), labels.make_table(["a"], [0.5]))
    location = parse_location(uri.removeprefix("bigquery://"))
    with Path(shards[0].path).open("rb") as file:
        config = bigquery_client.LoadJobConfig(source_format="PARQUET")
        location.client().load_table_from_file(file, location.table("labels"), job_config=config).result()
    assert rows_by_set(uri)[writer.set_id] == (2, 2)
    record = store.publish(writer, shards, labels.FACTS)
    assert rows_by_set(uri) == {record.set_id: (2, 2), other.set_id: (1, 1)}
    assert labels.read_rows(store, record.set_id) == [("a", 0.25), ("b", 0.5)]


def test_a_set_with_expired_rows_is_refused(uri, store, labels):
    record = labels.publish(store, labels.make_key(), *two_shards(labels))
    query(uri, "DELETE FROM {labels} WHERE example_id = '0a' AND event_date >= '2000-01-01'")
    with pytest.raises(DamagedSet, match="rows of a label set are missing: expected 6 rows, got 5"):
        labels.read_rows(store, record.set_id)


def test_a_job_submitted_twice_runs_once(uri, store, labels):
    location = parse_location(uri.removeprefix("bigquery://"))
    client, table = location.client(), location.table("labels")
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    labels.publish(store, labels.make_key(4), labels.make_table(["z"], [0.5]))
    path = Path(writer.write("shard-0", labels.make_table(["a", "b"], [0.25, 0.5])).path)
    config = bigquery_client.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")

    def submit(job_id: str):
        with path.open("rb") as file:
            return client.load_table_from_file(file, table, job_id=job_id, job_config=config, num_retries=0)

    name = f"load_{uuid.uuid4().hex}"
    first, second = (JobRunner(client).run_once(name, submit) for _ in range(2))
    assert (first.job_id, second.job_id) == (f"{name}_0", f"{name}_0")
    assert rows_by_set(uri)[writer.set_id] == (2, 2)


@pytest.mark.parametrize("status", [400, 409, 412])
def test_a_conflict_while_adding_a_column_is_retried(bigquery, uri, store, labels, status):
    """Answers of the server if two processes add a column at once."""
    bigquery.set_faults([{"path": "/tables/labels$", "method": "PATCH", "status": status, "when": "after"}])
    record = labels.publish(store, labels.make_key(), *two_shards(labels))
    assert bigquery.fault_hits() == 1
    assert rows_by_set(uri) == {record.set_id: (6, 6)}
