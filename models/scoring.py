"""Scoring of example shards with an exported model of any role, for labelling and evaluation."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow as tf

from eventlog.errors import BadInput
from models.records import UNREADABLE, read_records
from models.serving import EXAMPLES_INPUT, GRAPH_FILE, SIGNATURE, VARIABLES_PREFIX
from models.state import SERVING_FOLDER

Tensor = Any

_TENSOR_TYPES = {pa.string(): tf.string, pa.int64(): tf.int64, pa.float32(): tf.float32}


class ServedGraph:
    """Graph of a served model. It scores with the variables of any model that has the same graph.

    Models of one job differ only by their variables. Reading the variables is fifty times as fast as loading
    and tracing a graph.

    Args:
        uri: folder of the SavedModel.
        weights_fingerprint: fingerprint of the SavedModel's variables.
    """

    def __init__(self, uri: str, weights_fingerprint: str) -> None:
        self._model = tf.saved_model.load(uri)
        self._weights_fingerprint = weights_fingerprint
        self._signature = self._model.signatures[SIGNATURE]
        self._scoring_functions: dict[tuple[tuple[str, pa.DataType], ...], Any] = {}
        self._lock = threading.Lock()
        self.tasks: tuple[str, ...] = tuple(sorted(self._signature.structured_outputs))
        """Names of the outputs, sorted."""

    def score(
        self, uri: str, weights_fingerprint: str, serialized: Tensor, carry: Mapping[str, pa.DataType]
    ) -> Any:
        """Scores a batch of tf.Examples with the variables of the SavedModel `uri`.

        Args:
            uri: folder of a SavedModel with this graph.
            weights_fingerprint: fingerprint of its variables.
            serialized: `[batch]` string.
            carry: see `Scorer.score_files`.

        Returns:
            The carried columns, see `_parse_carried`, and task → `[batch]` float32 prediction.

        Raises:
            BadInput: if the variables cannot be read.
        """
        with self._lock:
            if weights_fingerprint != self._weights_fingerprint:
                # Unset while the variables are read, because a failed read leaves the variables undefined.
                self._weights_fingerprint = ""
                _restore_variables(self._model, uri)
                self._weights_fingerprint = weights_fingerprint
            return self._scoring_function(carry)(serialized)

    def _scoring_function(self, carry: Mapping[str, pa.DataType]) -> Any:
        """A function that scores a batch and parses its carried columns; traced once, not once per file."""
        key = tuple(carry.items())
        if key not in self._scoring_functions:
            spec = {name: tf.io.RaggedFeature(_TENSOR_TYPES[kind]) for name, kind in key}

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
            def score(serialized: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
                return _parse_carried(serialized, spec), self._signature(**{EXAMPLES_INPUT: serialized})

            self._scoring_functions[key] = score
        return self._scoring_functions[key]


class Scorer:
    """A loaded served model.

    Args:
        graph: the model's graph, which may be shared with other scorers.
        uri: folder of the SavedModel. Its variables are read if the graph has another model's variables.
        weights_fingerprint: fingerprint of the SavedModel's variables.
    """

    def __init__(self, graph: ServedGraph, uri: str, weights_fingerprint: str) -> None:
        self.graph = graph
        self.tasks = graph.tasks
        """Names of the outputs, sorted."""
        self._uri = uri
        self._weights_fingerprint = weights_fingerprint

    def score_files(
        self, files: Sequence[str], carry: Mapping[str, pa.DataType], batch_size: int = 4096
    ) -> Iterator[pa.RecordBatch]:
        """Predictions for every example, in the order of the files and of the examples in them.

        Args:
            files: GZIP TFRecord shards of tf.Examples.
            carry: raw scalar columns to copy to the output, of type string, int64 or float32.
            batch_size: examples per batch.

        Yields:
            Batches with the carried columns, null where an example has no value, then one float32 column per
            task, with the task's name.

        Raises:
            BadInput: if a shard or the model's variables cannot be read, or a column has another type.
        """
        schema = pa.schema([*carry.items(), *((task, pa.float32()) for task in self.tasks)])
        try:
            for serialized in read_records(files, batch_size):
                carried, scores = self.graph.score(self._uri, self._weights_fingerprint, serialized, carry)
                columns = [_arrow_column(carried[name], kind) for name, kind in carry.items()]
                columns += [pa.array(scores[task].numpy(), pa.float32()) for task in self.tasks]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except UNREADABLE as error:
            raise BadInput(
                "the examples cannot be scored",
                where=f"{files[0]} and {len(files) - 1} more",
                expected="GZIP TFRecord shards of tf.Examples with the schema's types",
                got=f"{type(error).__name__}: {error}"[:300],
                fix="Write the span's Examples again.",
            ) from error


_MAX_GRAPHS = 16
"""Enough for a teacher and the students and controls of seven surfaces; one graph takes about 50 MB."""
_GRAPHS: dict[str, ServedGraph] = {}
"""Loaded graphs by fingerprint of graph and assets, least recently used first."""


def load_scorer(model_uri: str) -> Scorer:
    """Loads the served model of a Model artifact.

    Raises:
        BadInput: if the artifact has no readable SavedModel with the signature of `export_model`.
    """
    uri = f"{model_uri}/{SERVING_FOLDER}"
    try:
        key = _fingerprint([f"{uri}/{GRAPH_FILE}", *tf.io.gfile.glob(f"{uri}/assets/*")])
        weights_fingerprint = _fingerprint(tf.io.gfile.glob(f"{uri}/{VARIABLES_PREFIX}.*"))
        graph = _GRAPHS.pop(key, None) or ServedGraph(uri, weights_fingerprint)
        while len(_GRAPHS) >= _MAX_GRAPHS:
            del _GRAPHS[next(iter(_GRAPHS))]
        _GRAPHS[key] = graph
        return Scorer(graph, uri, weights_fingerprint)
    except Exception as error:  # a damaged SavedModel raises errors of many types, also protobuf's
        raise _unreadable(uri, f'a SavedModel with a signature "{SIGNATURE}"', error) from error


def _restore_variables(model: Any, uri: str) -> None:
    try:
        status = tf.train.Checkpoint(root=model).read(f"{uri}/{VARIABLES_PREFIX}")
        status.assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError) as error:
        raise _unreadable(uri, "the variables of its graph", error) from error


def _unreadable(uri: str, expected: str, error: Exception) -> BadInput:
    return BadInput(
        "the model cannot be read",
        where=uri,
        expected=expected,
        got=f"{type(error).__name__}: {error}"[:300],
        fix="Train the span again, or give another model.",
    )


def _fingerprint(paths: Sequence[str]) -> str:
    """Hash of the names and contents of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(f"{path.rpartition('/')[2]} ".encode() + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def _parse_carried(serialized: Tensor, spec: Mapping[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """Column → (`[batch]` values, `[batch]` bool that is True where the value is missing)."""
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
