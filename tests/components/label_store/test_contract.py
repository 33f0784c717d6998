"""Contract suite of the label store's backends; a new backend is one line in conftest.BACKENDS."""

from __future__ import annotations

import dataclasses
import math
import pickle
import time

import pytest

from components.label_store.base import LabelSetKey
from eventlog.errors import BadInput

# Slow tests, whose requests the stock server and the patched one handle in the same way.
without_stock = pytest.mark.parametrize(
    "uri",
    [
        "delta",
        pytest.param("bigquery", marks=pytest.mark.slow),
        pytest.param("gcp", marks=pytest.mark.gcp),
    ],
    indirect=True,
)


def test_a_published_set_reads_back_as_it_was_staged(store, labels):
    table = labels.make_table(["a", "b"], [0.25, None], [1.5, 2.5])
    columns = {"click": labels.CLICK, "watch_time": labels.WATCH}
    record = labels.publish(store, labels.make_key(), table, columns=columns)
    names = ("example_id", "event_date", "surface", "soft_click", "soft_watch_time")
    day = table["event_date"][0].as_py()
    assert labels.read_rows(store, record.set_id, names) == [
        ("a", day, "feed", 0.25, 1.5),
        ("b", day, "feed", None, 2.5),
    ]


def test_the_record_describes_the_set(store, labels):
    tables = [labels.make_table(["a", "b"], [0.1, 0.2]), labels.make_table(["c"], [0.3], surface="search")]
    record = labels.publish(store, labels.make_key(), *tables)
    assert (record.rows, record.revision) == (3, 1)
    assert record.rows_per_surface == {"feed": 2, "search": 1}
    assert record.key == labels.make_key()
    assert record.columns == {"click": labels.CLICK}
    assert record.facts == labels.FACTS
    assert store.list_sets() == [record]
    assert store.find_set(record.set_id) == record


def test_a_scan_reads_only_the_given_surface_and_columns(store, labels):
    table = labels.make_table(["a", "b", "c"], [0.5, 0.25, 0.75], surface=["feed", "search", "feed"])
    record = labels.publish(store, labels.make_key(), table)
    assert labels.read_rows(store, record.set_id, surface="search") == [("b", 0.25)]
    batches = list(store.scan(record.set_id, ["soft_click", "example_id"], surface="feed"))
    assert batches[0].schema.names == ["soft_click", "example_id"]
    assert list(store.scan(record.set_id, ["example_id"], surface="nowhere")) == []


def test_nothing_is_visible_before_it_is_published(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    writer.write("shard-0", labels.make_table(["a"], [0.5]))
    assert store.list_sets() == []
    with pytest.raises(BadInput, match="no published set: expected the id of a published label set"):
        store.scan(writer.set_id, ["example_id"])


def test_the_first_attempt_to_publish_wins_and_the_second_gets_its_record(store, labels):
    first = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    second = labels.publish(store, labels.make_key(), labels.make_table(["a", "b"], [0.75, 0.1]))
    assert second == first
    assert store.list_sets() == [first]
    assert labels.read_rows(store, first.set_id) == [("a", 0.5)]


def test_superseding_makes_a_new_revision_beside_the_old_one(store, labels):
    first = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    second = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.75]), supersede=True)
    assert (first.revision, second.revision) == (1, 2)
    assert store.list_sets() == [first, second]
    assert labels.read_rows(store, first.set_id) == [("a", 0.5)]
    assert labels.read_rows(store, second.set_id) == [("a", 0.75)]
    # A later attempt without `supersede` gets the newest revision.
    assert labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.25])) == second


def test_publishing_one_attempt_twice_publishes_it_once(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5]))]
    record = store.publish(writer, shards, labels.FACTS, supersede=True)
    later = dataclasses.replace(labels.FACTS, seconds=99.0)
    assert store.publish(writer, shards, later, supersede=True) == record
    assert store.list_sets() == [record]


def test_a_shard_staged_twice_is_published_once(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5])) for _ in range(2)]
    record = store.publish(writer, shards, labels.FACTS)
    assert record.rows == 1
    assert labels.read_rows(store, record.set_id) == [("a", 0.5)]


def test_a_set_without_rows_can_be_published(store, labels):
    record = labels.publish(store, labels.make_key())
    assert (record.rows, record.rows_per_surface) == (0, {})
    assert store.list_sets() == [record]
    assert labels.read_rows(store, record.set_id) == []


@without_stock
@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5, -0.125])
def test_a_label_that_is_not_a_probability_is_not_published(store, labels, value):
    with pytest.raises(BadInput, match=f"probabilities in .0, 1., got soft_click = {value} of example 'b'"):
        labels.publish(store, labels.make_key(), labels.make_table(["a", "b"], [0.5, value]))
    assert store.list_sets() == []


@without_stock
def test_an_expected_value_may_be_any_finite_number(store, labels):
    columns = {"click": labels.CLICK, "watch_time": labels.WATCH}
    labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5], [-12.0]), columns=columns)
    with pytest.raises(BadInput, match="got soft_watch_time = inf of example 'a'"):
        table = labels.make_table(["a"], [0.5], [math.inf])
        labels.publish(store, labels.make_key(4), table, columns=columns)


@without_stock
def test_an_example_id_in_two_shards_is_not_published(store, labels):
    tables = [labels.make_table(["a", "b"], [0.1, 0.2]), labels.make_table(["b"], [0.2])]
    with pytest.raises(BadInput, match="labelled twice: expected each example_id once in a span, got b"):
        labels.publish(store, labels.make_key(), *tables)
    assert store.list_sets() == []


@without_stock
def test_a_shard_must_have_exactly_the_columns_of_the_set(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    with pytest.raises(ValueError, match="a label shard has columns"):
        writer.write("shard-0", labels.make_table(["a"], [0.5], [1.0]))


@without_stock
def test_a_new_task_is_added_and_older_sets_still_read(store, labels):
    old = labels.publish(store, labels.make_key(3), labels.make_table(["a"], [0.5]))
    columns = {"click": labels.CLICK, "watch_time": labels.WATCH}
    new = labels.publish(store, labels.make_key(4), labels.make_table(["b"], [0.5], [2.0]), columns=columns)
    assert labels.read_rows(store, old.set_id) == [("a", 0.5)]
    assert labels.read_rows(store, new.set_id, ["soft_watch_time"]) == [(2.0,)]
    with pytest.raises(BadInput, match="has no column soft_watch_time: expected one of example_id"):
        store.scan(old.set_id, ["soft_watch_time"])


@without_stock
def test_a_column_never_changes_its_meaning(store, labels):
    labels.publish(store, labels.make_key(3), labels.make_table(["a"], [0.5]))
    with pytest.raises(BadInput, match="column soft_click has another meaning already"):
        labels.publish(
            store, labels.make_key(4), labels.make_table(["a"], [0.5]), columns={"click": labels.WATCH}
        )
    assert len(store.list_sets()) == 1


@without_stock
def test_the_checksum_does_not_depend_on_the_order_and_sharding_of_rows(store, labels):
    whole = labels.make_table(["a", "b", "c"], [0.1, 0.2, 0.3])
    one = labels.publish(store, labels.make_key(3), whole)
    two = labels.publish(store, labels.make_key(4), whole.take([2]), whole.take([1, 0]))
    other = labels.publish(store, labels.make_key(5), labels.make_table(["a", "b", "c"], [0.2, 0.1, 0.3]))
    assert one.checksum == two.checksum != other.checksum


@without_stock
def test_the_first_pin_of_a_span_stays(store, labels):
    first = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    second = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.75]), supersede=True)
    assert store.read_pin("phones", 3) is None
    assert store.pin("phones", 3, first.set_id) == first.set_id
    assert store.pin("phones", 3, second.set_id) == first.set_id
    assert store.read_pin("phones", 3) == first.set_id
    assert store.pin("tablets", 3, second.set_id) == second.set_id
    assert store.read_pin("phones", 4) is None


@without_stock
def test_only_a_published_set_can_be_pinned(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    with pytest.raises(BadInput, match="no published set"):
        store.pin("phones", 3, writer.set_id)
    assert store.read_pin("phones", 3) is None


@without_stock
def test_garbage_collection_deletes_only_unpublished_attempts(store, labels):
    winner = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    newer = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.625]), supersede=True)
    store.pin("phones", 3, winner.set_id)
    loser = store.stage(labels.make_key(), {"click": labels.CLICK})
    loser.write("shard-0", labels.make_table(["a"], [0.75]))
    assert store.delete_unpublished(older_than_seconds=3600) == []
    assert store.delete_unpublished(older_than_seconds=-1) == [loser.set_id]
    assert store.delete_unpublished(older_than_seconds=-1) == []
    assert labels.read_rows(store, winner.set_id) == [("a", 0.5)]
    assert labels.read_rows(store, newer.set_id) == [("a", 0.625)]
    assert store.read_pin("phones", 3) == winner.set_id


@without_stock
def test_a_dry_run_returns_the_attempts_and_deletes_nothing(store, labels):
    loser = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [loser.write("shard-0", labels.make_table(["a"], [0.75]))]
    assert store.delete_unpublished(older_than_seconds=-1, dry_run=True) == [loser.set_id]
    assert store.publish(loser, shards, labels.FACTS).rows == 1
    assert store.delete_unpublished(older_than_seconds=-1, dry_run=True) == []


@without_stock
def test_old_sets_are_deleted_but_never_a_pinned_one(store, labels):
    pinned = labels.publish(store, labels.make_key(3), labels.make_table(["a"], [0.5]))
    loose = labels.publish(store, labels.make_key(4), labels.make_table(["b"], [0.5]))
    store.pin("phones", 3, pinned.set_id)
    assert store.delete_unpinned(older_than_seconds=3600) == []
    assert store.delete_unpinned(older_than_seconds=-1, dry_run=True) == [loose.set_id]
    assert store.list_sets() == [pinned, loose]
    assert store.delete_unpinned(older_than_seconds=-1) == [loose.set_id]
    assert store.list_sets() == [pinned]
    assert labels.read_rows(store, pinned.set_id) == [("a", 0.5)]
    with pytest.raises(BadInput, match="no published set"):
        store.scan(loose.set_id, ["example_id"])
    with pytest.raises(BadInput, match="no published set"):
        store.pin("phones", 4, loose.set_id)


@without_stock
def test_the_key_of_a_deleted_set_can_be_labelled_again(store, labels):
    labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    store.delete_unpinned(older_than_seconds=-1)
    again = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.75]))
    assert again.revision == 2
    assert store.list_sets() == [again]
    assert labels.read_rows(store, again.set_id) == [("a", 0.75)]


@without_stock
def test_a_collected_attempt_can_no_longer_be_published(store, labels):
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5]))]
    store.delete_unpublished(older_than_seconds=-1)
    with pytest.raises(BadInput, match="staged shards are missing or changed"):
        store.publish(writer, shards, labels.FACTS)
    assert store.list_sets() == []


@without_stock
def test_a_writer_and_its_shards_travel_to_workers(store, labels):
    writer = pickle.loads(pickle.dumps(store.stage(labels.make_key(), {"click": labels.CLICK})))
    shard = pickle.loads(pickle.dumps(writer.write("shard-0", labels.make_table(["a"], [0.5]))))
    assert store.publish(writer, [shard], labels.FACTS).rows == 1


@without_stock
@pytest.mark.parametrize("name", ["", "a/b", "a.b", "../up", "a b"])
def test_a_name_that_cannot_be_a_path_segment_is_refused(store, name):
    with pytest.raises(BadInput, match="expected letters, digits, _ and -"):
        LabelSetKey(teacher=name, teacher_version="7", span=3)
    with pytest.raises(BadInput, match="not a usable fleet name"):
        store.read_pin(name, 3)


@without_stock
def test_of_eight_processes_that_publish_one_key_exactly_one_wins(store, uri, labels):
    # The process forks after its imports and before any call: eight writers, one start-up.
    script = """
store = open_store(sys.argv[1])
start = time.time() + 1
for value in range(8):
    if os.fork() == 0:
        writer = store.stage(make_key(), {"click": CLICK})
        clicks = [value / 16, value / 16]
        shards = [writer.write(f"s{n}", make_table([f"{n}a", f"{n}b"], clicks)) for n in range(3)]
        time.sleep(max(0, start - time.time()))
        record = store.publish(writer, shards, FACTS)
        pin = store.pin("phones", 3, record.set_id)
        os.write(1, f"{record.set_id} {record.checksum} {pin}\\n".encode())
        os._exit(0)
sys.exit(sum(os.wait()[1] for _ in range(8)))
"""
    process = labels.start_python(script, uri)
    answers = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    (record,) = store.list_sets()
    assert answers == [f"{record.set_id} {record.checksum} {record.set_id}"] * 8
    rows = labels.read_rows(store, record.set_id)
    assert [example for example, _ in rows] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert len({value for _, value in rows}) == 1


@without_stock
def test_a_reader_beside_a_writer_sees_only_complete_sets(store, uri, labels):
    script = """
store = open_store(sys.argv[1])
for span in range(5):
    tables = [make_table([f"{span}-{shard}-{n}" for n in range(50)], [0.5] * 50) for shard in range(4)]
    publish(store, make_key(span), *tables)
"""
    writer = labels.start_python(script, uri)
    seen: set[int] = set()
    running = True
    while running:
        running = writer.poll() is None  # Before the read: the last read must find all sets.
        records = store.list_sets()
        assert {record.key.span for record in records} >= seen
        seen = {record.key.span for record in records}
        for record in records[-1:]:
            assert len(labels.read_rows(store, record.set_id)) == record.rows == 200
    assert writer.returncode == 0
    assert seen == set(range(5))


@without_stock
def test_four_students_read_the_same_bytes_while_sets_are_published_and_collected(
    store, uri, labels, tmp_path
):
    ids = [f"example-{n}" for n in range(300)]
    clicks = [n / 512 for n in range(300)]
    record = labels.publish(store, labels.make_key(), labels.make_table(ids, clicks))
    # Forked before any call, as above. Each child writes a file, because its lines are too long for a pipe.
    script = """
from components.label_store.resolving import LabelSource, pin_span
store = open_store(sys.argv[1])
for student in range(4):
    if os.fork() == 0:
        with open(f"{sys.argv[2]}/student-{student}", "w") as file:
            for _ in range(4):
                set_id = pin_span(store, "phones", LabelSource(teacher="big"), 3).set_id
                print(set_id, repr(read_rows(store, set_id)), file=file)
        os._exit(0)
sys.exit(sum(os.wait()[1] for _ in range(4)))
"""
    store.pin("phones", 3, record.set_id)
    students = labels.start_python(script, uri, str(tmp_path))
    for number in (1, 2):
        table = labels.make_table(ids, [number / 4] * 300)
        labels.publish(store, labels.make_key(), table, supersede=True)
    while students.poll() is None:
        store.delete_unpublished(older_than_seconds=-1)
        store.delete_unpinned(older_than_seconds=-1)
        time.sleep(0.5)
    assert students.returncode == 0
    expected = f"{record.set_id} {sorted(zip(ids, clicks, strict=True))!r}"
    for student in range(4):
        assert (tmp_path / f"student-{student}").read_text().splitlines() == [expected] * 4
    assert store.list_sets() == [record]
