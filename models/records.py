"""Reading of serialized tf.Examples from GZIP TFRecord shards."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import tensorflow as tf

_READ_BYTES = 1 << 20
UNREADABLE = (tf.errors.OpError, pa.ArrowInvalid, UnicodeDecodeError)
"""Errors of damaged records. ArrowInvalid: a string is not UTF-8. UnicodeDecodeError: TensorFlow's error
message quotes bytes that are not UTF-8."""
# For a pipeline that only reads, tf.data's optimizer costs more time than it saves.
READ_OPTIONS = tf.data.Options()
READ_OPTIONS.autotune.enabled = False
READ_OPTIONS.experimental_optimization.apply_default_optimizations = False


def read_records(files: Sequence[str], batch_size: int) -> tf.data.Dataset:
    """A dataset of batches `[at most batch_size]` string: the serialized records of the files, in order."""
    return concatenated_records(files).batch(batch_size).with_options(READ_OPTIONS)


def concatenated_records(files: Sequence[str]) -> tf.data.Dataset:
    """A dataset of the serialized records of the files, one file after the other; each a scalar string."""
    # tf.data.TFRecordDataset traces a function at each call. That takes longer than reading a small file,
    # and leaks memory.
    records = tf.raw_ops.TFRecordDataset(
        filenames=list(files), compression_type="GZIP", buffer_size=_READ_BYTES
    )
    return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
