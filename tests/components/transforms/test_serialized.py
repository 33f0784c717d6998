from __future__ import annotations

import pyarrow as pa
import pytest
import tensorflow as tf

from components.transforms.serialized import SERIALIZED, append_feature, read_serialized
from components.transforms.shards import encode_examples, read_shards, write_records, write_shard
from eventlog.errors import BadInput

COLUMNS = {
    "example_id": ["a", "b"],
    "event_time_ms": [20, 10],
    "impression_span": [3, 0],
    "surface": ["feed", "search"],
    "x": [0.5, None],
}
SCHEMA = pa.schema([*SERIALIZED.remove(4), pa.field("x", pa.float32())])


def encode() -> list[bytes]:
    return encode_examples(pa.RecordBatch.from_pydict(COLUMNS, schema=SCHEMA))


def decode(records: list[bytes], schema: pa.Schema, path: str) -> dict[str, list]:
    write_records(path, records)
    (batch,) = read_shards([path], 10, schema)
    return batch.to_pydict()


def test_examples_stay_serialized_beside_id_time_and_surface(tmp_path):
    write_shard(str(tmp_path / "shard.gz"), pa.RecordBatch.from_pydict(COLUMNS, schema=SCHEMA))
    (batch,) = read_serialized(str(tmp_path / "shard.gz"))
    assert batch.schema == SERIALIZED
    assert batch.column(0).to_pylist() == ["a", "b"]
    assert batch.column(1).to_pylist() == [20, 10]
    assert batch.column(2).to_pylist() == [3, 0]
    assert batch.column(3).to_pylist() == ["feed", "search"]
    assert decode(batch.column(4).to_pylist(), SCHEMA, str(tmp_path / "copy.gz")) == COLUMNS


def test_an_empty_shard_gives_no_batch(tmp_path):
    write_shard(str(tmp_path / "shard.gz"), pa.RecordBatch.from_pylist([], schema=SCHEMA))
    assert list(read_serialized(str(tmp_path / "shard.gz"))) == []


def test_an_example_without_an_id_is_refused(tmp_path):
    schema = SCHEMA.remove(0)
    columns = {name: COLUMNS[name] for name in schema.names}
    write_shard(str(tmp_path / "shard.gz"), pa.RecordBatch.from_pydict(columns, schema=schema))
    with pytest.raises(BadInput, match=r"unreadable shard: .* with example_id, event_time_ms, impression"):
        list(read_serialized(str(tmp_path / "shard.gz")))


def test_every_reader_of_examples_reads_the_appended_feature(tmp_path):
    values = pa.array([None, 0.25], pa.float32())
    longer = append_feature(pa.array(encode(), pa.large_binary()), "soft_click", values).to_pylist()
    schema = SCHEMA.append(pa.field("soft_click", pa.float32()))
    assert decode(longer, schema, str(tmp_path / "longer.gz")) == COLUMNS | {"soft_click": [None, 0.25]}
    spec = {name: tf.io.FixedLenFeature([], tf.float32, default_value=-1.0) for name in ("x", "soft_click")}
    parsed = tf.io.parse_example(longer, spec)
    assert parsed["soft_click"].numpy().tolist() == [-1.0, 0.25]
    assert parsed["x"].numpy().tolist() == [0.5, -1.0]
    one = tf.io.parse_single_example(longer[1], spec)
    assert float(one["soft_click"]) == 0.25
    features = tf.train.Example.FromString(longer[1]).features.feature
    assert sorted(features) == [
        "event_time_ms",
        "example_id",
        "impression_span",
        "soft_click",
        "surface",
        "x",
    ]


def test_an_id_that_is_not_utf8_is_refused(tmp_path):
    record = encode()[0]
    write_records(str(tmp_path / "shard.gz"), [record.replace(COLUMNS["example_id"][0].encode(), b"\xff", 1)])
    with pytest.raises(BadInput, match=r"unreadable shard: expected a GZIP TFRecord of tf\.Examples"):
        list(read_serialized(str(tmp_path / "shard.gz")))
