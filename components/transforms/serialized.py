"""Reads tf.Examples as bytes with id, time, impression span and surface; appends features to the bytes.

This is ten times as fast as decoding and encoding all features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.transforms.shards import encode_examples, unreadable_shard
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, SURFACE
from models.records import UNREADABLE, read_records

EXAMPLE = "example"
SERIALIZED = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string()),
        pa.field(EVENT_TIME_MS, pa.int64()),
        pa.field(IMPRESSION_SPAN, pa.int64()),
        pa.field(SURFACE, pa.string()),
        pa.field(EXAMPLE, pa.large_binary()),
    ]
)
"""Schema of serialized examples with their id, time, impression span and surface.

The type is large_binary, because the examples of one bucket of the join may exceed 2 GiB.
"""

_BATCH_ROWS = 8192
_PARSED_FEATURES = {
    EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    EVENT_TIME_MS: tf.io.FixedLenFeature([], tf.int64),
    IMPRESSION_SPAN: tf.io.FixedLenFeature([], tf.int64),
    SURFACE: tf.io.FixedLenFeature([], tf.string),
}


@tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
def _parse(records: Any) -> Any:
    return tf.io.parse_example(records, _PARSED_FEATURES)


def read_serialized(path: str) -> Iterator[pa.RecordBatch]:
    """Reads a shard and parses only the id, time, impression span and surface of each example.

    Args:
        path: a GZIP TFRecord of tf.Examples.

    Yields:
        Batches of `SERIALIZED`, with rows in file order; no batch if the shard is empty.

    Raises:
        BadInput: if the file is not such a shard, or an example lacks one of these features.
    """
    try:
        for records in read_records([path], _BATCH_ROWS):
            parsed = {name: tensor.numpy() for name, tensor in _parse(records).items()}
            columns = [
                pa.array(parsed[EXAMPLE_ID], pa.binary()).cast(pa.string()),
                pa.array(parsed[EVENT_TIME_MS]),
                pa.array(parsed[IMPRESSION_SPAN]),
                pa.array(parsed[SURFACE], pa.binary()).cast(pa.string()),
                pa.array(records.numpy(), pa.large_binary()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=SERIALIZED)
    except UNREADABLE as error:
        features = ", ".join(_PARSED_FEATURES)
        raise unreadable_shard(path, f"a GZIP TFRecord of tf.Examples with {features}", error) from error


def append_feature(examples: pa.Array, name: str, values: pa.Array) -> pa.Array:
    """Returns `[rows]` serialized tf.Examples with one more feature.

    Two concatenated serialized protocol buffers are read as one merged message. So this function appends the
    bytes of a tf.Example with only the new feature. It adds only one feature, because the encoder writes
    several features in an undefined order, and equal examples must have equal bytes.

    Args:
        examples: `[rows]` serialized tf.Examples without the feature.
        name: name of the feature.
        values: `[rows]` float32; a null value adds no feature.

    Reference: Protocol Buffers, Encoding, "Last One Wins" (concatenation merges).
    """
    batch = pa.RecordBatch.from_arrays([values], schema=pa.schema([pa.field(name, pa.float32())]))
    suffixes = pa.array(encode_examples(batch), pa.large_binary())
    return pc.binary_join_element_wise(examples, suffixes, pa.scalar(b"", pa.large_binary()))
