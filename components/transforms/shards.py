"""Shards of tf.Examples on disk, read and written as Arrow.

The unit of work is a shard, never an example: rows travel as flat Arrow columns (the types of the event log)
and become tf.Examples in tfx_bsl's C++ coders alone. A null scalar, a null list and an empty list are all a
missing feature in the tf.Example (its name without a value, which every reader of tf.Examples takes as
absent), and come back as null.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from eventlog.errors import BadInput
from models.records import read_records
from models.shard_names import SHARD_GLOB
from models.shard_names import shard_name as shard_name  # noqa: PLC0414  # other modules import it from here

FRESH_SPLITS = ("train", "holdout")
"""Splits of rows whose impression lies in the span itself; `holdout` is never trained on."""
MATURED_SPLITS = ("matured", "matured_holdout")
"""Splits of rows whose delayed labels have just become known, in the same order as FRESH_SPLITS."""
SPLITS = FRESH_SPLITS + MATURED_SPLITS
TRAINED_SPLITS, HELD_OUT_SPLITS = zip(FRESH_SPLITS, MATURED_SPLITS, strict=True)
"""Splits that models learn, and those of the clusters that they never learn and are judged on."""

_WRITE_OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


def split_folder(uri: str, split: str) -> str:
    """Folder of a split inside an Examples artifact, as TFX names it."""
    return f"{uri.rstrip('/')}/Split-{split}"


def split_files(uri: str, split: str) -> list[str]:
    """Paths of a split's shards in shard order, which is the order of time.

    Raises:
        BadInput: if the split holds no shard; even a split without rows has its (empty) shard files.
    """
    folder = split_folder(uri, split)
    paths = sorted(tf.io.gfile.glob(f"{folder}/{SHARD_GLOB}"))
    if not paths:
        raise BadInput(
            "no examples",
            where=folder,
            expected=f"shards named {SHARD_GLOB}",
            got="none",
            fix="Encode the span again.",
        )
    return paths


def write_shard(path: str, batch: pa.RecordBatch) -> int:
    """Writes one shard of tf.Examples, a GZIP TFRecord; a reader never sees half a file.

    Args:
        path: where the shard shall lie; the folder is made if it is missing.
        batch: flat columns of string, int64, float32 or lists of those, one row an example. No rows is fine:
            the file then exists and holds no record.

    Returns:
        The number of records written.
    """
    write_records(path, encode_examples(batch))
    return int(batch.num_rows)


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Writes one shard of serialized tf.Examples; a reader never sees half a file."""
    folder, _, name = path.rpartition("/")
    tf.io.gfile.makedirs(folder)
    # Two attempts at the same shard, at once or after a kill, must not write into one another's file.
    partial = f"{folder}/.{name}.{uuid.uuid4().hex}"
    with tf.io.TFRecordWriter(partial, _WRITE_OPTIONS) as writer:
        for record in records:
            writer.write(record)
    tf.io.gfile.rename(partial, path, overwrite=True)


def read_shards(paths: Sequence[str], batch_rows: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Reads shards back as flat Arrow batches.

    Args:
        paths: GZIP TFRecords of tf.Examples.
        batch_rows: at most so many rows a batch, which may be of two shards.
        schema: the columns wanted, with their flat types. A column that no example carries is all null; a
            feature that is not named is skipped.

    Yields:
        Batches of exactly `schema`, rows in the order of the files and in theirs; none without rows.

    Raises:
        BadInput: if a file is no such shard, or a scalar column has several values in an example.
    """
    decoder = example_coder.ExamplesToRecordBatchDecoder(example_schema(schema).SerializeToString())
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    try:
        for records in read_records(paths, batch_rows):
            yield flatten_columns(decoder.DecodeBatch(records.numpy().tolist()), schema, where)
    except (tf.errors.OpError, RuntimeError) as error:
        raise BadInput(
            "unreadable shard",
            where=where,
            expected="a GZIP TFRecord of tf.Examples",
            got=str(error).splitlines()[0],
            fix="Encode the span again.",
        ) from error


def encode_examples(batch: pa.RecordBatch) -> list[bytes]:
    """Serialized tf.Examples, one a row of flat columns; null and empty are a missing feature."""
    if not batch.num_rows:
        return []
    columns = [_as_lists(column) for column in batch.columns]
    encoder = example_coder.RecordBatchToExamplesEncoder()
    records: list[bytes] = encoder.encode(pa.RecordBatch.from_arrays(columns, names=batch.schema.names))
    return records


def decode_examples(records: list[bytes], schema: pa.Schema) -> pa.RecordBatch:
    """The inverse of `encode_examples`: flat columns of exactly `schema`."""
    decoder = example_coder.ExamplesToRecordBatchDecoder(example_schema(schema).SerializeToString())
    return flatten_columns(decoder.DecodeBatch(records), schema, "tf.Examples")


def example_schema(schema: pa.Schema) -> schema_pb2.Schema:
    """The TFMD schema (names and types alone) of tf.Examples that carry these Arrow columns."""
    return schema_pb2.Schema(
        feature=[schema_pb2.Feature(name=field.name, type=_feature_type(field.type)) for field in schema]
    )


def flatten_columns(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Turns tfx_bsl's columns (large lists, binary strings) into the flat types of `schema`.

    Args:
        batch: a decoded batch that has every column of `schema`.
        schema: the flat columns wanted.
        where: what is being read, for the error.

    Raises:
        BadInput: if a scalar column has several values in an example.
    """
    arrays = [
        _flatten_list(batch.column(field.name), field.type)
        if pa.types.is_list(field.type)
        else _flatten_scalar(batch.column(field.name), field, where)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _feature_type(kind: pa.DataType) -> int:
    value = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_string(value):
        return int(schema_pb2.BYTES)
    if pa.types.is_int64(value):
        return int(schema_pb2.INT)
    if pa.types.is_float32(value):
        return int(schema_pb2.FLOAT)
    raise TypeError(f"a tf.Example column must be string, int64, float32 or a list of those, got {kind}.")


def _as_lists(column: pa.Array) -> pa.Array:
    """A flat column as list<value>, null where the tf.Example shall lack the feature."""
    if pa.types.is_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        values = column.flatten()
    else:
        lengths = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int32)
        values = column.drop_null()
    _feature_type(column.type)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    absent = np.append(lengths == 0, False)
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())
    return pa.ListArray.from_arrays(pa.array(offsets, mask=absent), values)


def _flatten_list(column: pa.Array, kind: pa.DataType) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    absent = np.append(lengths == 0, False)
    return pa.ListArray.from_arrays(
        pa.array(offsets, mask=absent), _cast_values(column.flatten(), kind.value_type)
    )


def _flatten_scalar(column: pa.Array, field: pa.Field, where: str) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    if len(lengths) and lengths.max() > 1:
        raise BadInput(
            f"column {field.name} has several values in one example",
            where=where,
            expected="one value or none",
            got=str(lengths.max()),
            fix="Declare the column as a list or repair the examples.",
        )
    positions = pa.array(np.cumsum(lengths) - 1, mask=lengths == 0, type=pa.int64())
    return _cast_values(column.flatten(), field.type).take(positions)


def _cast_values(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return values.cast(pa.large_string()).cast(kind) if pa.types.is_string(kind) else values.cast(kind)
