"""Delta Lake backend: kills, concurrent commits, and other engines that read the table."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from components.label_store.base import require_set_id
from components.label_store.delta.store import DeltaLabelStore
from components.label_store.delta.table import LabelTable
from eventlog.errors import BadInput

KILLS = {
    "while a shard is being written": """
from components.label_store.delta import shards
real = shards.write_table
def write_half(table, path, **options):
    real(table, path, **options)
    path.write_bytes(path.read_bytes()[:100])
    os.kill(os.getpid(), 9)
shards.write_table = write_half
""",
    "between the record and the commit": """
from components.label_store.delta.table import LabelTable
def die(*arguments):
    os.kill(os.getpid(), 9)
LabelTable.publish = die
""",
    "at the commit": """
from deltalake import DeltaTable
def die(*arguments, **options):
    os.kill(os.getpid(), 9)
DeltaTable.create_write_transaction = die
""",
    "right after the commit": """
from deltalake import DeltaTable
real = DeltaTable.create_write_transaction
def commit(*arguments, **options):
    real(*arguments, **options)
    os.kill(os.getpid(), 9)
DeltaTable.create_write_transaction = commit
""",
}
PUBLISH = """
publish(open_store(sys.argv[1]), make_key(), make_table(["a", "b"], [0.5, 0.25]), make_table(["c"], [0.75]))
"""


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "labels"


@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_leaves_a_complete_set_or_none(root, labels, moment):
    process = labels.start_python(KILLS[moment] + PUBLISH, f"delta:{root}")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    store = DeltaLabelStore(root)
    survived = store.list_sets()
    assert len(survived) == (1 if moment == "right after the commit" else 0)
    # The next attempt finds the set or publishes its own; the killed attempt can be garbage-collected.
    record = labels.publish(store, labels.make_key(), labels.make_table(["z"], [0.5]))
    if survived:
        assert record == survived[0]
        assert labels.read_rows(store, record.set_id) == [("a", 0.5), ("b", 0.25), ("c", 0.75)]
    else:
        assert labels.read_rows(store, record.set_id) == [("z", 0.5)]
    assert len(store.delete_unpublished(older_than_seconds=-1)) == 1
    assert labels.read_rows(store, record.set_id)
    assert len(list(root.glob("label_set=*"))) == len(list(root.glob("_records/*"))) == 1


def test_another_delta_engine_sees_only_published_rows(root, labels):
    store = DeltaLabelStore(root)
    columns = {"click": labels.CLICK, "watch_time": labels.WATCH}
    labels.publish(store, labels.make_key(3), labels.make_table(["a"], [0.5]))
    labels.publish(store, labels.make_key(4), labels.make_table(["b"], [0.25], [7.0]), columns=columns)
    labels.publish(store, labels.make_key(4), labels.make_table(["c"], [0.75]))
    query = "SELECT example_id, soft_click, soft_watch_time, event_date FROM labels ORDER BY example_id"
    answer = QueryBuilder().register("labels", DeltaTable(str(root))).execute(query).read_all()
    assert answer["example_id"].to_pylist() == ["a", "b"]
    assert answer["soft_click"].to_pylist() == [0.5, 0.25]
    assert answer["soft_watch_time"].to_pylist() == [None, 7.0]


def test_the_same_key_is_not_committed_twice(root, labels):
    store = DeltaLabelStore(root)
    first = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    before = DeltaTable(str(root)).version()
    assert labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.75])) == first
    assert DeltaTable(str(root)).version() == before


def test_sets_and_columns_survive_a_checkpoint_without_the_older_log(root, labels):
    store = DeltaLabelStore(root)
    first = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    DeltaTable(str(root)).create_checkpoint()
    for entry in sorted(root.glob("_delta_log/*.json"))[:-1]:
        entry.unlink()
    assert labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.75])) == first
    with pytest.raises(ValueError, match="column soft_click has another meaning already"):
        labels.publish(
            store, labels.make_key(4), labels.make_table(["a"], [0.5]), columns={"click": labels.WATCH}
        )
    labels.publish(store, labels.make_key(4), labels.make_table(["b"], [0.5]))
    assert [record.key.span for record in store.list_sets()] == [3, 4]


def test_an_error_after_a_successful_commit_does_not_publish_twice(root, labels, monkeypatch):
    commit = DeltaTable.create_write_transaction
    calls = []

    def fail_afterwards(*arguments, **options):
        commit(*arguments, **options)
        calls.append(options)
        if len(calls) == 1:
            raise DeltaError("the answer was lost")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", fail_afterwards)
    record = labels.publish(DeltaLabelStore(root), labels.make_key(), labels.make_table(["a"], [0.5]))
    assert len(calls) == 1
    assert (record.rows, record.revision) == (1, 1)


def test_garbage_collection_deletes_nothing_of_a_set_published_meanwhile(root, labels, monkeypatch):
    store = DeltaLabelStore(root)
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5]))]
    bar, published = LabelTable.bar, []

    def publish_first(table, set_ids):
        if not published:
            published.append(store.publish(writer, shards, labels.FACTS))
        bar(table, set_ids)

    monkeypatch.setattr(LabelTable, "bar", publish_first)
    assert store.delete_unpublished(older_than_seconds=-1) == []
    assert labels.read_rows(store, published[0].set_id) == [("a", 0.5)]


def test_garbage_collection_deletes_extra_copies_of_a_published_shard(root, labels):
    store = DeltaLabelStore(root)
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5])) for _ in range(2)]
    record = store.publish(writer, shards, labels.FACTS)
    assert len(list(root.glob("label_set=*/*.parquet"))) == 2
    assert store.delete_unpublished(older_than_seconds=-1) == []
    assert len(list(root.glob("label_set=*/*.parquet"))) == 1
    assert labels.read_rows(store, record.set_id) == [("a", 0.5)]


def test_an_attempt_with_a_missing_shard_is_not_published(root, labels):
    store = DeltaLabelStore(root)
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5]))]
    (root / shards[0].path).unlink()
    with pytest.raises(ValueError, match="staged shards are missing or changed"):
        store.publish(writer, shards, labels.FACTS)
    assert store.list_sets() == []


def test_a_record_of_an_older_version_with_another_key_is_read(root, labels):
    store = DeltaLabelStore(root)
    record = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    (file,) = root.glob("_records/*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"distinct_ids": 1}))
    assert store.list_sets() == [record]


@pytest.mark.parametrize("set_id", ["x') OR ('a' = 'a", "../../other", "a/../b", "", ".", "..", "a b", "a\n"])
def test_an_id_that_is_a_path_or_sql_is_refused(set_id):
    with pytest.raises(BadInput, match="not the id of a label set"):
        require_set_id(set_id, "here")


def test_a_record_of_another_id_is_refused_before_anything_is_deleted(root, tmp_path, labels):
    store = DeltaLabelStore(root)
    labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    (file,) = root.glob("_records/*.json")
    outside = tmp_path / "outside"
    outside.mkdir()
    crafted = json.loads(file.read_text()) | {"set_id": "x/../../outside"}
    file.write_text(json.dumps(crafted))
    (root / "label_set=x").mkdir()
    with pytest.raises(BadInput, match=r"expected the record of big\.7.*got 'x/\.\./\.\./outside'"):
        store.delete_unpinned(older_than_seconds=-1)
    assert outside.is_dir()


def test_a_record_that_is_no_record_is_refused_in_one_line(root, labels):
    store = DeltaLabelStore(root)
    record = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    (file,) = root.glob("_records/*.json")
    file.write_text("{}")
    with pytest.raises(BadInput, match="unreadable file: expected the record of a label set"):
        store.find_set(record.set_id)


@pytest.mark.parametrize(
    ("set_id", "path"),
    [
        ("x') OR ('a' = 'a", "f.parquet"),
        ("x", "../../secret.parquet"),
        ("x", "stray.parquet"),
        ("x", "label_set=y/f.parquet"),
    ],
)
def test_a_delta_log_that_names_files_outside_the_set_is_refused(root, labels, set_id, path):
    store = DeltaLabelStore(root)
    labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    newest = max((root / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in newest.read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = path
            action["add"]["partitionValues"] = {"label_set": set_id}
    newest.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(BadInput, match=r"not the id of a label set|file outside its label set"):
        store.list_sets()


def test_a_pin_that_is_no_text_is_refused(root, labels):
    store = DeltaLabelStore(root)
    record = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    store.pin("students", 3, record.set_id)
    (file,) = root.glob("_pins/*/span-*")
    file.write_bytes(b"\xff")
    for read in (lambda: store.read_pin("students", 3), lambda: store.pin("students", 3, record.set_id)):
        with pytest.raises(BadInput, match="span-00003: unreadable pin: expected the id of a label set"):
            read()


def test_labels_without_an_example_id_are_refused(root, labels):
    store = DeltaLabelStore(root)
    record = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    (file,) = root.glob("label_set=*/*.parquet")
    rows = pq.read_table(file, partitioning=None)
    nullable = pa.schema([field.with_nullable(True) for field in rows.schema])
    ids = pa.array([None], pa.string())
    pq.write_table(rows.cast(nullable).set_column(0, nullable[0], ids), file)
    with pytest.raises(BadInput, match=r"unreadable file: .* got 1 rows without an example_id"):
        labels.read_rows(store, record.set_id)


def test_a_damaged_log_of_the_table_is_one_line(root, labels):
    store = DeltaLabelStore(root)
    labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    (first,) = (root / "_delta_log").glob("*0.json")
    first.write_text("{broken")
    with pytest.raises(BadInput, match="a damaged Delta table: expected a readable log in _delta_log"):
        store.list_sets()
