"""The transform graph: from raw columns to what a ranker takes, with statistics frozen at bootstrap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import schema_inference

from models.features import Feature
from models.settings import from_json

Tensor = Any

_REGISTER_VALUES = 16
"""float32 in the widest vector register of today's processors."""
_FIXED_POINT = 2.0**30
_LARGEST_NUMBER = 2.0**20
"""Larger numbers are cut off: eight million squares of it still fit an int64."""
_LEAST_VARIANCE = 1e-9
"""Relative to 1 + mean², and below what rounding to fixed point leaves of it; less is a constant column."""


def preprocessing_fn(inputs: Mapping[str, Tensor], custom_config: Mapping[str, str]) -> dict[str, Tensor]:
    """TFX Transform's entry point. Labels are not among the outputs, whatever the inputs hold.

    Args:
        inputs: raw columns, `[batch, <= 1]` sparse for scalars, `[batch, any]` for bags, or dense where the
            schema promises a value in every row.
        custom_config: under `features`, the JSON of a dict of `Feature`s by raw column.

    Returns:
        By raw column: `[batch]` int64 in [0, buckets] for `id` and `quantiles` (0: missing), sparse
        `[batch, any]` int64 in [1, buckets] for `bag`, `[batch]` float32 for `number`.

    Raises:
        ValueError: if a feature is not a column of the schema.
    """
    features = from_json(dict[str, Feature], custom_config["features"])
    unknown = sorted(set(features) - set(inputs))
    if unknown:
        raise ValueError(
            f"features {unknown} are not in the schema: expected some of {sorted(inputs)}. Add them to it."
        )
    return {name: _transformed(_sparse(inputs[name]), feature) for name, feature in features.items()}


def features_config(features: Mapping[str, Feature]) -> dict[str, str]:
    """The `custom_config` that `preprocessing_fn` reads."""
    return {"features": json.dumps({name: feature.__dict__ for name, feature in features.items()})}


def _transformed(column: Tensor, feature: Feature) -> Tensor:
    if feature.kind == "bag":
        ids = _hashed(column.values, feature.buckets)
        return tf.SparseTensor(column.indices, ids, column.dense_shape)
    if feature.kind == "id":
        dense = _dense(column, _hashed(column.values, feature.buckets))
        schema_inference.set_tensor_schema_override(dense, tf.constant(0, tf.int64), _int64(feature.buckets))
        return dense
    numbers = _finite(column)
    if feature.kind == "quantiles":
        buckets = tft.bucketize(numbers, feature.buckets)
        dense = _dense(buckets, buckets.values + 1)
        schema_inference.set_tensor_schema_override(dense, tf.constant(0, tf.int64), _int64(feature.buckets))
        return dense
    if feature.log:
        numbers = numbers.with_values(_log1p(tf.maximum(numbers.values, 0.0)))
    return _dense(numbers, _z_scores(numbers.values))


def _log1p(values: Tensor) -> Tensor:
    """The same number for the same value, wherever in a batch it stands.

    What does not fill a vector register at a batch's end is computed in another way and differs in the last
    digit; Beam chooses the sizes of batches by the clock.
    """
    num_values = tf.size(values)
    padded = tf.pad(values, [[0, -num_values % _REGISTER_VALUES]])
    return tf.math.log1p(padded)[:num_values]


def _z_scores(values: Tensor) -> Tensor:
    """`[values]` float32, less their mean and over their standard deviation; 0 where they do not vary.

    Differs from `tft.scale_to_z_score` in adding up integers. Beam adds in an order of its own: sums of
    floats would differ in their last digits from bootstrap to bootstrap, and the feature version with them.
    """
    wide = tf.clip_by_value(tf.cast(values, tf.float64), -_LARGEST_NUMBER, _LARGEST_NUMBER)
    squares = wide * wide
    whole = tf.floor(squares)
    parts = [tf.ones_like(wide), wide * _FIXED_POINT, whole, (squares - whole) * _FIXED_POINT]
    sums = tft.sum(tf.cast(tf.round(tf.stack(parts, axis=1)), tf.int64), reduce_instance_dims=False)
    count, total, squared, squared_rest = tf.unstack(tf.cast(sums, tf.float64))
    count = tf.maximum(count, 1.0)
    mean = total / _FIXED_POINT / count
    variance = (squared + squared_rest / _FIXED_POINT) / count - mean * mean
    variance = tf.where(variance > _LEAST_VARIANCE * (1.0 + mean * mean), variance, 0.0)
    scores = tf.math.divide_no_nan(wide - mean, tf.sqrt(variance))
    return tf.cast(scores, tf.float32)


def _int64(value: int) -> Tensor:
    return tf.constant(value, tf.int64)


def _hashed(values: Tensor, buckets: int) -> Tensor:
    strings = values if values.dtype == tf.string else tf.strings.as_string(values)
    return tft.hash_strings(strings, buckets) + 1


def _finite(column: Tensor) -> Tensor:
    """Treats NaN and infinity as missing: one of them would poison the mean of the whole column."""
    values = tf.cast(column.values, tf.float32)
    return tf.sparse.retain(column.with_values(values), tf.math.is_finite(values))


def _dense(column: Tensor, values: Tensor) -> Tensor:
    """`[batch]`, 0 where missing. Several values where one belongs are an error, never a silent choice."""
    num_rows = column.dense_shape[0]
    single = tf.SparseTensor(column.indices, values, tf.stack([num_rows, tf.constant(1, tf.int64)]))
    return tf.reshape(tf.sparse.to_dense(single), [-1])


def _sparse(column: Tensor) -> Tensor:
    if isinstance(column, tf.SparseTensor):
        return column
    if isinstance(column, tf.RaggedTensor):
        return column.to_sparse()
    flat = tf.reshape(column, [tf.shape(column)[0], -1])
    # Not tf.sparse.from_dense: it takes 0 and "" for missing.
    shape = tf.shape(flat, out_type=tf.int64)
    indices = tf.where(tf.ones_like(flat, tf.bool))
    return tf.SparseTensor(indices, tf.reshape(flat, [-1]), shape)
