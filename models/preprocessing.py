"""Feature preprocessing for TFX Transform: transforms raw columns to the inputs of a ranker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import schema_inference
from tensorflow_transform.tf_metadata import schema_utils

from eventlog.errors import BadInput
from models.features import Feature
from models.settings import from_json
from models.transform_graph import VOCABULARY_PREFIX

Tensor = Any

_VALUES_PER_REGISTER = 16
"""Number of float32 values in the widest vector register of current processors."""
_FIXED_POINT = 2.0**30
"""Fractions are multiplied by this factor and rounded to integers, see `_z_scores`."""
_LARGEST_NUMBER = 2.0**20
"""Larger numbers are clipped, so that the sum of eight million squares fits in an int64."""
_MIN_VARIANCE = 1e-9
"""Relative to 1 + mean². A smaller variance is a rounding error, so the column is treated as constant."""


def preprocessing_fn(inputs: Mapping[str, Tensor], custom_config: Mapping[str, str]) -> dict[str, Tensor]:
    """Transforms the features of a model; entry point of TFX Transform. The outputs contain no labels.

    Args:
        inputs: raw columns, sparse `[batch, <= 1]` for scalars and `[batch, any]` for bags; dense if the
            schema guarantees a value in every row.
        custom_config: see `features_config`.

    Returns:
        Raw column → `[batch]` int64 in [0, num_buckets] for `id` and `quantiles` (0: missing), sparse
        `[batch, any]` int64 in [1, num_buckets] for `bag`, `[batch]` float32 for `number`.

    Raises:
        ValueError: if a feature is not a column of the schema.
    """
    features = from_json(dict[str, Feature], custom_config["features"])
    unknown = sorted(set(features) - set(inputs))
    if unknown:
        raise ValueError(
            f"features {unknown} are not in the schema: expected some of {sorted(inputs)}. "
            "Add them to the schema."
        )
    return {name: _transformed(_sparse(inputs[name]), name, feature) for name, feature in features.items()}


def features_config(features: Mapping[str, Feature]) -> dict[str, str]:
    """The `custom_config` of `preprocessing_fn`: under `features`, JSON of raw column → `Feature`."""
    return {"features": json.dumps({name: feature.__dict__ for name, feature in features.items()})}


def build_graph(schema: schema_pb2.Schema, features: Mapping[str, Feature]) -> None:
    """Checks a schema by building the graph of `preprocessing_fn`, without data.

    Raises:
        BadInput: if TensorFlow or TFT refuses a column of the schema.
    """
    try:
        spec = schema_utils.schema_as_feature_spec(schema).feature_spec
        with tf.Graph().as_default():
            inputs = {name: _placeholder(column) for name, column in spec.items()}
            preprocessing_fn(inputs, features_config(features))
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise BadInput(
            "the feature graph cannot be built", where="features and schema",
            expected="columns that TensorFlow Transform reads", got=str(error).splitlines()[0][:300],
            fix="Correct the schema; schema/impressions.pbtxt is an example.",
        ) from error  # fmt: skip


def _placeholder(column: tf.io.FixedLenFeature | tf.io.VarLenFeature) -> Tensor:
    if isinstance(column, tf.io.FixedLenFeature):
        return tf.compat.v1.placeholder(column.dtype, [None, *column.shape])
    return tf.compat.v1.sparse_placeholder(column.dtype, [None, None])


def _transformed(column: Tensor, name: str, feature: Feature) -> Tensor:
    if feature.kind in ("bag", "id"):
        ids = _bucket_ids(column.values, name, feature)
        if feature.kind == "bag":
            return tf.SparseTensor(column.indices, ids, column.dense_shape)
        return _dense_ids(column, ids, feature.num_buckets)
    numbers = _finite(column)
    if feature.kind == "quantiles":
        buckets = tft.bucketize(numbers, feature.buckets)
        return _dense_ids(buckets, buckets.values + 1, feature.buckets)
    if feature.log:
        numbers = numbers.with_values(_log1p(tf.maximum(numbers.values, 0.0)))
    return _dense(numbers, _z_scores(numbers.values))


def _log1p(values: Tensor) -> Tensor:
    """log1p with results that do not depend on a value's position in the batch.

    TensorFlow computes the last values of a batch, which do not fill a vector register, in another way, and
    their last digit differs. Beam's batch sizes vary from run to run, so the batch is padded here.
    """
    num_values = tf.size(values)
    padded = tf.pad(values, [[0, -num_values % _VALUES_PER_REGISTER]])
    return tf.math.log1p(padded)[:num_values]


def _z_scores(values: Tensor) -> Tensor:
    """`[values]` float32 z-scores; 0 in a constant column.

    Unlike `tft.scale_to_z_score`, this adds fixed-point integers, whose sum does not depend on their order.
    Beam adds in a varying order. With floats, two burn-ins would give different sums and feature versions.
    """
    numbers = tf.clip_by_value(tf.cast(values, tf.float64), -_LARGEST_NUMBER, _LARGEST_NUMBER)
    powers = tf.stack([tf.ones_like(numbers), numbers, numbers * numbers], axis=1)
    # Whole parts and fractions have separate sums: in fixed point, a sum of large numbers overflows int64.
    floors = tf.floor(powers)
    parts = tf.concat([floors, (powers - floors) * _FIXED_POINT], axis=1)
    sums = tft.sum(tf.cast(tf.round(parts), tf.int64), reduce_instance_dims=False)
    integers, fractions = tf.split(tf.cast(sums, tf.float64), 2)
    count, total, total_of_squares = tf.unstack(integers + fractions / _FIXED_POINT)
    count = tf.maximum(count, 1.0)
    mean = total / count
    variance = total_of_squares / count - mean * mean
    variance = tf.where(variance > _MIN_VARIANCE * (1.0 + mean * mean), variance, 0.0)
    scores = tf.math.divide_no_nan(numbers - mean, tf.sqrt(variance))
    return tf.cast(scores, tf.float32)


def _bucket_ids(values: Tensor, name: str, feature: Feature) -> Tensor:
    """`[values]` int64 in [1, num_buckets]: by hash, or by the position in the vocabulary."""
    strings = values if values.dtype == tf.string else tf.strings.as_string(values)
    if not feature.vocabulary:
        return tft.hash_strings(strings, feature.buckets) + 1
    # Each value is compared with every value of the vocabulary. A lookup table would be a further resource of
    # the graph, with a file or a name that differs between two exports.
    # TensorFlow's fingerprint of a graph ignores constants, so `feature_version` hashes this name.
    digest = hashlib.sha256(json.dumps([name, feature.vocabulary]).encode()).hexdigest()
    vocabulary = tf.constant(feature.vocabulary, name=f"{VOCABULARY_PREFIX}{digest}")
    matches = tf.equal(strings[:, tf.newaxis], vocabulary[tf.newaxis])
    position = tf.argmax(tf.cast(matches, tf.int32), axis=1)
    return tf.where(tf.reduce_any(matches, axis=1), position, len(feature.vocabulary)) + 1


def _finite(column: Tensor) -> Tensor:
    """The column without NaN and infinity: one such value would make the mean of the column NaN."""
    values = tf.cast(column.values, tf.float32)
    return tf.sparse.retain(column.with_values(values), tf.math.is_finite(values))


def _dense_ids(column: Tensor, ids: Tensor, buckets: int) -> Tensor:
    """`[batch]` int64 ids, 0 where missing, with their domain [0, buckets] in the transformed schema."""
    dense = _dense(column, ids)
    domain = (tf.constant(bound, tf.int64) for bound in (0, buckets))
    schema_inference.set_tensor_schema_override(dense, *domain)
    return dense


def _dense(column: Tensor, values: Tensor) -> Tensor:
    """`[batch]` values, 0 where missing; fails at run time if a row has several values."""
    num_rows = column.dense_shape[0]
    single = tf.SparseTensor(column.indices, values, tf.stack([num_rows, tf.constant(1, tf.int64)]))
    return tf.reshape(tf.sparse.to_dense(single), [-1])


def _sparse(column: Tensor) -> Tensor:
    if isinstance(column, tf.SparseTensor):
        return column
    if isinstance(column, tf.RaggedTensor):
        return column.to_sparse()
    flat = tf.reshape(column, [tf.shape(column)[0], -1])
    # tf.sparse.from_dense would treat 0 and "" as missing.
    shape = tf.shape(flat, out_type=tf.int64)
    indices = tf.where(tf.ones_like(flat, tf.bool))
    return tf.SparseTensor(indices, tf.reshape(flat, [-1]), shape)
