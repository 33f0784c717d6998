"""tf.Examples that stay serialized: to pick, order and extend them costs a tenth of taking them apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.transforms.shards import encode_examples
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, SURFACE
from models.records import read_records

EXAMPLE = "example"
SERIALIZED = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string()),
        pa.field(EVENT_TIME_MS, pa.int64()),
        pa.field(SURFACE, pa.string()),
        pa.field(EXAMPLE, pa.large_binary()),
    ]
)
"""An example and what is known of it without taking it apart; a bucket may hold more than 2 GiB."""

_READ_ROWS = 8192
_SPEC = {
    EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    EVENT_TIME_MS: tf.io.FixedLenFeature([], tf.int64),
    SURFACE: tf.io.FixedLenFeature([], tf.string),
}


@tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
def _parse(records: Any) -> Any:
    return tf.io.parse_example(records, _SPEC)


def read_serialized(path: str) -> Iterator[pa.RecordBatch]:
    """Reads a shard, parsing nothing but an example's id, time and surface.

    Args:
        path: a GZIP TFRecord of tf.Examples.

    Yields:
        Batches of `SERIALIZED`, rows in file order; none for an empty shard.

    Raises:
        BadInput: if the file is no such shard, or an example lacks one of the three.
    """
    try:
        for records in read_records([path], _READ_ROWS):
            parsed = {name: tensor.numpy() for name, tensor in _parse(records).items()}
            columns = [
                pa.array(parsed[EXAMPLE_ID], pa.binary()).cast(pa.string()),
                pa.array(parsed[EVENT_TIME_MS]),
                pa.array(parsed[SURFACE], pa.binary()).cast(pa.string()),
                pa.array(records.numpy(), pa.large_binary()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=SERIALIZED)
    except tf.errors.OpError as error:
        raise BadInput(
            "unreadable shard",
            where=path,
            expected=f"a GZIP TFRecord of tf.Examples with {EXAMPLE_ID}, {EVENT_TIME_MS} and {SURFACE}",
            got=str(error).splitlines()[0],
            fix="Encode the span again.",
        ) from error


def append_feature(examples: pa.Array, name: str, values: pa.Array) -> pa.Array:
    """Serialized examples with one more feature each.

    Two serialized protocol buffers one behind the other are the serialized merger of the two, and a merger
    of tf.Examples has the features of both. One feature at a time, so that the bytes are always the same:
    the encoder does not order the features of an example.

    Args:
        examples: `[rows]` serialized tf.Examples without the feature.
        name: the feature's.
        values: `[rows]` float32; null is a missing feature.

    Reference: Protocol Buffers, Encoding, "Last One Wins" (concatenation merges).
    """
    batch = pa.RecordBatch.from_arrays([values], schema=pa.schema([pa.field(name, pa.float32())]))
    suffixes = pa.array(encode_examples(batch), pa.large_binary())
    return pc.binary_join_element_wise(examples, suffixes, pa.scalar(b"", pa.large_binary()))
