"""The frozen transform graph: its raw columns, its transformation for one model, and its feature version."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from eventlog.errors import BadInput
from models.features import Feature, ServedValue

Tensor = Any

VOCABULARY_PREFIX = "vocabulary_"
"""Prefix of the name of a constant with the vocabulary of one feature; a SHA-256 follows."""


def feature_version(transform_graph_dir: str) -> str:
    """12 hex digits of a hash of the frozen graph's computation and assets.

    A warm start needs the graph that the model was trained on. With another graph, ids and scales would
    silently change their meaning. TensorFlow numbers functions by a counter of the process, so two exports of
    one graph differ in these numbers. TensorFlow's fingerprint ignores them.
    It also ignores constants, so the names of the vocabularies' constants are hashed too.

    Args:
        transform_graph_dir: folder of the TransformGraph artifact.

    Raises:
        BadInput: if there is no SavedModel with a fingerprint.
    """
    root = f"{transform_graph_dir}/{tft.TFTransformOutput.TRANSFORM_FN_DIR}"
    try:
        fingerprint = tf.saved_model.experimental.read_fingerprint(root)
    except (OSError, RuntimeError) as error:
        raise _unusable(transform_graph_dir, "a graph with its fingerprint.pb", "none") from error
    digest = hashlib.sha256(f"{fingerprint.graph_def_program_hash} {fingerprint.signature_def_hash}".encode())
    with tf.io.gfile.GFile(f"{root}/{tf.saved_model.SAVED_MODEL_FILENAME_PB}", "rb") as file:
        names = re.findall(VOCABULARY_PREFIX.encode() + rb"[0-9a-f]{64}", file.read())
    digest.update(b" ".join(sorted(set(names))))
    for path in sorted(tf.io.gfile.glob(f"{root}/assets/*")):
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(f"{path[len(root) :]} {hashlib.sha256(file.read()).hexdigest()}".encode())
    return digest.hexdigest()[:12]


class TransformGraph:
    """The transformation of one model's features by a frozen transform graph.

    Args:
        uri: folder of the TransformGraph artifact.
        features: features of the model. No other column is parsed, so a student does not need the teacher's
            columns.

    Raises:
        BadInput: if the graph cannot be read, lacks a feature, or has other buckets for one.
    """

    def __init__(self, uri: str, features: Mapping[str, Feature]) -> None:
        try:
            output = tft.TFTransformOutput(uri)
            raw_spec = output.raw_feature_spec()
            domains = output.transformed_domains()
            self._layer: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = (
                output.transform_features_layer()
            )
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise _unusable(uri, "a readable TransformGraph artifact", f"{error}") from error
        transformed_spec = output.transformed_feature_spec()
        for name, feature in features.items():
            if name not in transformed_spec or name not in raw_spec:
                raise _unusable(uri, f'feature "{name}"', f"only {sorted(transformed_spec)}")
            if feature.kind in ("id", "quantiles") and domains[name].max != feature.num_buckets:
                raise _unusable(
                    uri, f'{feature.num_buckets} buckets of feature "{name}"', f"{domains[name].max} buckets"
                )
        self.features = dict(features)
        self.raw_spec = {name: raw_spec[name] for name in features}
        """Specification of the model's raw columns for `tf.io.parse_example`."""
        self.served_spec = {
            name: spec for name, spec in self.raw_spec.items() if features[name].served_as is None
        }
        """`raw_spec` without the columns that only training reads."""

    def with_served_values(self, raw: Mapping[str, Tensor], num_rows: Tensor) -> dict[str, Tensor]:
        """Adds the columns that only training reads, each with its constant value; see `Feature.served_as`.

        Args:
            raw: columns of `served_spec`.
            num_rows: scalar, the number of rows.
        """
        constants = {
            name: constant_column(self.raw_spec[name], feature.served_as, num_rows)
            for name, feature in self.features.items()
            if feature.served_as is not None
        }
        return {**raw, **constants}

    def __call__(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Transforms raw columns to the inputs of a `Ranker`.

        Shapes are those of `preprocessing_fn`, but bags are dense: `[batch, longest bag]`, padded with 0.
        """
        transformed = self._layer(raw)
        return {
            name: tf.sparse.to_dense(transformed[name]) if feature.kind == "bag" else transformed[name]
            for name, feature in self.features.items()
        }


def constant_column(spec: Any, value: ServedValue, num_rows: Tensor) -> Tensor:
    """A raw column with the same value in every row, dense or sparse as `tf.io.parse_example` returns it.

    Args:
        spec: the column's specification.
        value: one value, or the values of a list.
        num_rows: scalar, the number of rows.
    """
    values = tf.constant(value if isinstance(value, tuple) else (value,), spec.dtype)
    rows = tf.tile(values[tf.newaxis], tf.stack([num_rows, tf.constant(1, num_rows.dtype)]))
    if isinstance(spec, tf.io.FixedLenFeature):
        return tf.reshape(rows, [num_rows, *spec.shape])
    # tf.sparse.from_dense would treat 0 and "" as missing.
    shape = tf.shape(rows, out_type=tf.int64)
    return tf.SparseTensor(tf.where(tf.ones_like(rows, tf.bool)), tf.reshape(rows, [-1]), shape)


def _unusable(uri: str, expected: str, got: str) -> BadInput:
    return BadInput(
        "the transform graph cannot be used",
        where=uri,
        expected=expected,
        got=got,
        fix="Restore the old features, or run the burn-in again, which gives a new feature version.",
    )
