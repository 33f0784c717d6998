from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.label_store import fingerprints


def make_table(ids, clicks, likes):
    return pa.table(
        {
            "example_id": ids,
            "soft_click": pa.array(clicks, pa.float32()),
            "soft_like": pa.array(likes, pa.float32()),
        }
    )


def test_the_hash_of_an_id_never_changes():
    # Changing it would move every example to another bucket and every checksum to another value.
    hashes = fingerprints.hash_ids(pa.chunked_array([["a", "b"], ["a"]]))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [13950350942979735504, 12688059582079114975, 13950350942979735504]


def test_the_checksum_ignores_order_and_adds_up_over_shards():
    table = make_table(["a", "b", "c"], [0.1, 0.2, None], [0.3, 0.4, 0.5])
    whole = fingerprints.compute_checksum(table)
    assert fingerprints.compute_checksum(table.take([2, 0, 1])) == whole
    parts = fingerprints.compute_checksum(table.slice(0, 1)) + fingerprints.compute_checksum(table.slice(1))
    assert parts % 2**64 == whole
    assert fingerprints.compute_checksum(table.slice(0, 0)) == 0


def test_the_checksum_differs_for_swapped_columns_rows_and_nulls():
    tables = [
        make_table(["a", "b"], [0.1, 0.2], [0.3, 0.4]),
        make_table(["a", "b"], [0.3, 0.2], [0.1, 0.4]),
        make_table(["a", "b"], [0.2, 0.1], [0.3, 0.4]),
        make_table(["a", "b"], [0.1, None], [0.3, 0.4]),
        make_table(["a", "b"], [0.1, 0.0], [0.3, 0.4]),
    ]
    assert len({fingerprints.compute_checksum(table) for table in tables}) == 5


def test_duplicates_are_sorted_and_limited_in_number():
    ids = pa.chunked_array([["d", "a", "b", "e"], ["b", "a", "c", "d", "a", "e"]])
    assert fingerprints.duplicated_ids(ids) == ["a", "b", "d"]
    assert fingerprints.duplicated_ids(pa.chunked_array([["x", "y"]])) == []


def test_two_ids_with_the_same_hash_are_not_duplicates(monkeypatch):
    monkeypatch.setattr(fingerprints, "hash_ids", lambda ids: np.zeros(len(ids), np.uint64))
    assert fingerprints.duplicated_ids(pa.chunked_array([["a", "b", "c"]])) == []
    assert fingerprints.duplicated_ids(pa.chunked_array([["a", "b", "a"]])) == ["a"]
