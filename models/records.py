"""Shards of serialized tf.Examples, read as they are."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_READ_BYTES = 1 << 20
# The optimizer of input pipelines costs more than it gains when there is nothing to do but to read.
LEAN = tf.data.Options()
LEAN.autotune.enabled = False
LEAN.experimental_optimization.apply_default_optimizations = False


def read_records(files: Sequence[str], batch_size: int) -> tf.data.Dataset:
    """Batches `[at most batch_size]` string of the records of GZIP TFRecord files, in their order."""
    return records_in_turn(files).batch(batch_size).with_options(LEAN)


def records_in_turn(files: Sequence[str]) -> tf.data.Dataset:
    """The records of GZIP TFRecord files, file after file."""
    # tf.data.TFRecordDataset traces a function each time, which takes longer than a small file, and of which
    # TensorFlow keeps something for as long as the process lives.
    records = tf.raw_ops.TFRecordDataset(
        filenames=list(files), compression_type="GZIP", buffer_size=_READ_BYTES
    )
    return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
