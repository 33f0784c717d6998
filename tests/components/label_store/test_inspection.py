from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.label_store.inspection import diff_sets, verify_set
from components.label_store.schemes import open_store
from eventlog.errors import BadInput


@pytest.fixture
def store(tmp_path):
    return open_store(f"delta:{tmp_path}")


def test_an_intact_set_has_no_differences_from_its_record(store, labels):
    tables = [labels.make_table(["a", "b"], [0.1, None]), labels.make_table(["c"], [0.3], surface="search")]
    record = labels.publish(store, labels.make_key(), *tables)
    assert verify_set(store, record.set_id) == []


def test_rows_changed_outside_the_store_are_reported(store, labels, tmp_path):
    record = labels.publish(store, labels.make_key(), labels.make_table(["a", "b"], [0.1, 0.2]))
    (file,) = Path(tmp_path).glob(f"label_set={record.set_id}/*.parquet")
    pq.write_table(labels.make_table(["a", "a", "c"], [0.1, 0.2, 0.3], surface="search"), file)
    faults = verify_set(store, record.set_id)
    assert faults[0] == "rows: expected 2, got 3"
    assert faults[1] == "rows per surface: expected {'feed': 2}, got {'search': 3}"
    assert faults[2] == "example ids labelled twice: expected [], got ['a']"
    assert faults[3].startswith(f"checksum: expected {record.checksum}, got ")


def test_a_set_that_is_not_published_cannot_be_verified(store):
    with pytest.raises(BadInput, match="no published set"):
        verify_set(store, "big.7.span-00003.0.abc")


def test_a_difference_counts_examples_and_labels(store, labels):
    one = labels.publish(store, labels.make_key(3), labels.make_table(["a", "b", "c"], [0.5, 0.25, None]))
    other = labels.publish(
        store, labels.make_key(4), labels.make_table(["b", "c", "d", "e"], [0.75, None, 0.1, 0.2])
    )
    difference = diff_sets(store, one.set_id, other.set_id)
    assert (difference.shared, difference.only_first, difference.only_second) == (2, 1, 2)
    (click,) = difference.tasks
    assert (click.task, click.changed, click.mean, click.largest) == ("click", 1, 0.5, 0.5)


def test_a_set_with_an_example_twice_is_not_compared(store, labels, tmp_path):
    record = labels.publish(store, labels.make_key(), labels.make_table(["a", "b"], [0.5, 0.25]))
    (file,) = Path(tmp_path).glob(f"label_set={record.set_id}/*.parquet")
    pq.write_table(labels.make_table(["a", "a"], [0.5, 0.25]), file)
    with pytest.raises(BadInput, match="example ids labelled twice: expected each example_id once, got a"):
        diff_sets(store, record.set_id, record.set_id)
