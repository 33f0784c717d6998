"""Reads and writes shards of tf.Examples as Arrow record batches.

One Beam element is a shard, never an example. Rows are Arrow columns with the types of the event log. These
columns are called flat here, because tfx_bsl wraps every value in a list. Only tfx_bsl's C++ coders convert
rows to tf.Examples and back. A null scalar, a null list and an empty list all become a missing feature, which
is read as null.
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
from models.records import UNREADABLE, read_records
from models.shard_names import SHARD_GLOB

FRESH_SPLITS = ("train", "holdout")
"""Splits of fresh rows; no model trains on `holdout`."""
MATURED_SPLITS = ("matured", "matured_holdout")
"""Splits of matured rows, in the same order as FRESH_SPLITS."""
SPLITS = FRESH_SPLITS + MATURED_SPLITS
TRAINED_SPLITS, HELD_OUT_SPLITS = zip(FRESH_SPLITS, MATURED_SPLITS, strict=True)
"""TRAINED_SPLITS: models train on these. HELD_OUT_SPLITS: no model trains on these. The candidate check reads
both held-out splits, TFX's Evaluator only `holdout`. Both are the Trainer's eval splits."""

_WRITE_OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


def split_folder(uri: str, split: str) -> str:
    """Returns the folder of a split inside an Examples artifact, by TFX's convention."""
    return f"{uri.rstrip('/')}/Split-{split}"


def split_files(uri: str, split: str) -> list[str]:
    """Returns the paths of a split's shards, in shard order. Before the join, shards are in time order.

    Raises:
        BadInput: if the split has no shard file. A split without rows has empty shard files.
    """
    folder = split_folder(uri, split)
    paths = sorted(tf.io.gfile.glob(f"{folder}/{SHARD_GLOB}"))
    if not paths:
        raise BadInput(
            "no examples", where=folder, expected=f"shards named {SHARD_GLOB}", got="none",
            fix="Encode the span again.",
        )  # fmt: skip
    return paths


def write_shard(path: str, batch: pa.RecordBatch) -> int:
    """Writes one shard of tf.Examples, a GZIP TFRecord; a reader never sees a partial file.

    Args:
        path: path of the shard; a missing folder is created.
        batch: flat columns of string, int64, float32 or lists of those, one row per example. A batch without
            rows becomes a file without records.

    Returns:
        The number of records written.
    """
    write_records(path, encode_examples(batch))
    return int(batch.num_rows)


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Writes one shard of serialized tf.Examples; a reader never sees a partial file."""
    folder, _, name = path.rpartition("/")
    tf.io.gfile.makedirs(folder)
    # Concurrent attempts at the same shard must not write into each other's file.
    partial = f"{folder}/.{name}.{uuid.uuid4().hex}"
    with tf.io.TFRecordWriter(partial, _WRITE_OPTIONS) as writer:
        for record in records:
            writer.write(record)
    tf.io.gfile.rename(partial, path, overwrite=True)


def read_shards(paths: Sequence[str], batch_rows: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Reads shards as flat Arrow batches.

    Args:
        paths: GZIP TFRecords of tf.Examples.
        batch_rows: maximum number of rows in a batch; a batch may cover several shards.
        schema: the columns to read, with their flat types. A column is null in examples without the feature.
            Features that are not in `schema` are skipped.

    Yields:
        Batches of exactly `schema`, with rows in file order; no batch is empty.

    Raises:
        BadInput: if a file is not such a shard, or a scalar column has several values in one example.
    """
    decoder = example_coder.ExamplesToRecordBatchDecoder(example_schema(schema).SerializeToString())
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    try:
        for records in read_records(paths, batch_rows):
            yield _flatten_columns(decoder.DecodeBatch(records.numpy().tolist()), schema, where)
    # RuntimeError: from tfx_bsl's decoder.
    except (*UNREADABLE, RuntimeError) as error:
        raise unreadable_shard(where, "a GZIP TFRecord of tf.Examples", error) from error


def unreadable_shard(where: str, expected: str, error: Exception) -> BadInput:
    """Returns the error for a file that is not the expected shard."""
    return BadInput(
        "unreadable shard", where=where, expected=expected, got=str(error).splitlines()[0],
        fix="Encode the span again.",
    )  # fmt: skip


def encode_examples(batch: pa.RecordBatch) -> list[bytes]:
    """Serializes flat columns to tf.Examples, one per row; a null or an empty list adds no feature."""
    if not batch.num_rows:
        return []
    columns = [_as_lists(column) for column in batch.columns]
    encoder = example_coder.RecordBatchToExamplesEncoder()
    records: list[bytes] = encoder.encode(pa.RecordBatch.from_arrays(columns, names=batch.schema.names))
    return records


def example_schema(schema: pa.Schema) -> schema_pb2.Schema:
    """Returns the TensorFlow Metadata schema (names and types only) of tf.Examples with these columns."""
    return schema_pb2.Schema(
        feature=[schema_pb2.Feature(name=field.name, type=_feature_type(field.type)) for field in schema]
    )


def _flatten_columns(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Converts tfx_bsl's columns (large lists, binary strings) to the flat types of `schema`.

    Args:
        batch: a decoded batch with every column of `schema`.
        schema: the flat columns.
        where: the files, for the error message.

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


def _feature_type(column_type: pa.DataType) -> int:
    value_type = column_type.value_type if pa.types.is_list(column_type) else column_type
    if pa.types.is_string(value_type):
        return int(schema_pb2.BYTES)
    if pa.types.is_int64(value_type):
        return int(schema_pb2.INT)
    if pa.types.is_float32(value_type):
        return int(schema_pb2.FLOAT)
    raise TypeError(
        f"a tf.Example column must be string, int64, float32 or a list of those, got {column_type}."
    )


def _as_lists(column: pa.Array) -> pa.Array:
    """Converts a flat column to lists, null for a missing feature.

    Raises:
        TypeError: if tf.Examples do not support the column's type.
    """
    _feature_type(column.type)
    if pa.types.is_list(column.type):
        lengths, values = _list_lengths(column), column.flatten()
    else:
        lengths = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int32)
        values = column.drop_null()
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())
    return _list_array(lengths, values)


def _list_lengths(column: pa.Array) -> np.ndarray:
    """Returns the `[rows]` lengths of the lists, 0 for null."""
    lengths: np.ndarray = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return lengths


def _list_array(lengths: np.ndarray, values: pa.Array) -> pa.Array:
    """Cuts `values` into lists with these lengths; a list is null where the length is 0."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(lengths == 0, False)), values)


def _flatten_list(column: pa.Array, list_type: pa.DataType) -> pa.Array:
    return _list_array(_list_lengths(column), _cast_values(column.flatten(), list_type.value_type))


def _flatten_scalar(column: pa.Array, field: pa.Field, where: str) -> pa.Array:
    lengths = _list_lengths(column)
    if len(lengths) and lengths.max() > 1:
        raise BadInput(
            f"column {field.name} has several values in one example",
            where=where,
            expected="one value or none",
            got=str(lengths.max()),
            fix="Declare the column as a list, or repair the examples.",
        )
    positions = pa.array(np.cumsum(lengths) - 1, mask=lengths == 0, type=pa.int64())
    return _cast_values(column.flatten(), field.type).take(positions)


def _cast_values(values: pa.Array, value_type: pa.DataType) -> pa.Array:
    if pa.types.is_string(value_type):
        values = values.cast(pa.large_string())
    return values.cast(value_type)
