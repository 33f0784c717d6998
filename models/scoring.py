"""Scores shards of examples with a served model, batch by batch: for labelling and for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow as tf

from eventlog.errors import BadInput
from models.records import read_records
from models.serving import EXAMPLES_INPUT, SIGNATURE
from models.state import SERVING_FOLDER

Tensor = Any

_TENSOR_TYPES = {pa.string(): tf.string, pa.int64(): tf.int64, pa.float32(): tf.float32}


class Scorer:
    """A served model, loaded.

    Args:
        model: what `tf.saved_model.load` gave.
    """

    def __init__(self, model: Any) -> None:
        self._model = model  # its variables die with it, and the signature alone does not hold it
        self._signature = model.signatures[SIGNATURE]
        self._scorings: dict[tuple[tuple[str, pa.DataType], ...], Any] = {}
        self.tasks: tuple[str, ...] = tuple(sorted(self._signature.structured_outputs))
        """Names of the outputs, sorted."""

    def score_files(
        self, files: Sequence[str], carry: Mapping[str, pa.DataType], batch_size: int = 4096
    ) -> Iterator[pa.RecordBatch]:
        """Predictions of every example, in the order of the files and of the examples in them.

        Args:
            files: GZIP TFRecord shards of tf.Examples.
            carry: raw scalar columns to pass through, string, int64 or float32.
            batch_size: examples per batch.

        Yields:
            The carried columns, null where an example has no value, then per task a float32 column of
            its name.

        Raises:
            BadInput: if a shard cannot be read, or a column is of another type.
        """
        schema = pa.schema([*carry.items(), *((task, pa.float32()) for task in self.tasks)])
        score = self._scoring(carry)
        try:
            for serialized in read_records(files, batch_size):
                carried, scores = score(serialized)
                columns = [_arrow_column(carried[name], kind) for name, kind in carry.items()]
                columns += [pa.array(scores[task].numpy(), pa.float32()) for task in self.tasks]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except tf.errors.OpError as error:
            raise BadInput(
                "the examples cannot be scored",
                where=f"{files[0]} and {len(files) - 1} more",
                expected="GZIP TFRecord shards of tf.Examples with the schema's types",
                got=f"{type(error).__name__}: {error}"[:300],
                fix="Write the span's Examples again.",
            ) from error

    def _scoring(self, carry: Mapping[str, pa.DataType]) -> Any:
        """The model and the parsing of what is carried, as one function; traced once, not once a file."""
        key = tuple(carry.items())
        if key not in self._scorings:
            spec = {name: tf.io.RaggedFeature(_TENSOR_TYPES[kind]) for name, kind in key}

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
            def score(serialized: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
                return _carried(serialized, spec), self._signature(**{EXAMPLES_INPUT: serialized})

            self._scorings[key] = score
        return self._scorings[key]


_KEPT = 16
"""Of a teacher and three surfaces, the last models and their candidates; one takes some 50 MB."""
_LOADED: dict[str, Scorer] = {}
"""By content, the longest unused first: a candidate is looked at again as its successor's predecessor."""


def load_scorer(model_uri: str) -> Scorer:
    """Loads a Model artifact's served model.

    Raises:
        BadInput: if there is no readable SavedModel with our signature in it.
    """
    uri = f"{model_uri}/{SERVING_FOLDER}"
    expected = f'a SavedModel with a signature "{SIGNATURE}"'
    try:
        content = _fingerprint(uri)
        scorer = _LOADED.pop(content, None) or Scorer(tf.saved_model.load(uri))
        while len(_LOADED) >= _KEPT:
            del _LOADED[next(iter(_LOADED))]
        _LOADED[content] = scorer
        return scorer
    except Exception as error:  # a damaged SavedModel raises almost anything, protobuf's errors included
        raise BadInput(
            "the model cannot be read",
            where=uri,
            expected=expected,
            got=f"{type(error).__name__}: {error}"[:300],
            fix="Train the span again, or give another model.",
        ) from error


def _fingerprint(uri: str) -> str:
    """Of the names and bytes of all files of a SavedModel, assets included."""
    digest = hashlib.sha256()
    for folder, _, names in sorted(tf.io.gfile.walk(uri)):
        for name in sorted(names):
            with tf.io.gfile.GFile(f"{folder}/{name}", "rb") as file:
                digest.update(f"{folder.removeprefix(uri)}/{name}".encode() + file.read())
    return digest.hexdigest()


def _carried(serialized: Tensor, spec: Mapping[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """Per column its values, `[batch]`, and where there is none."""
    if not spec:
        return {}
    columns = tf.io.parse_example(serialized, spec)
    return {
        name: (column.to_tensor(shape=[None, 1])[:, 0], tf.equal(column.row_lengths(), 0))
        for name, column in columns.items()
    }


def _arrow_column(column: tuple[Tensor, Tensor], kind: pa.DataType) -> pa.Array:
    values, missing = (tensor.numpy() for tensor in column)
    if kind == pa.string():
        return pa.array(values, pa.binary(), mask=missing).cast(pa.string())
    return pa.array(values, kind, mask=missing)
