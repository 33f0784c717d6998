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
    # tf.data.TFRecordDataset traces a function each time, which takes longer than a small file.
    files_in_turn = tf.raw_ops.TFRecordDataset(
        filenames=list(files), compression_type="GZIP", buffer_size=_READ_BYTES
    )
    records = tf.data.experimental.from_variant(files_in_turn, tf.TensorSpec([], tf.string))
    return records.batch(batch_size).with_options(LEAN)
