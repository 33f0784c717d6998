"""Scores shards of examples with a served model, batch by batch: for labelling and for evaluation."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow as tf

from eventlog.errors import BadInput
from models.records import read_records
from models.serving import EXAMPLES_INPUT, GRAPH_FILE, SIGNATURE, VARIABLES
from models.state import SERVING_FOLDER

Tensor = Any

_TENSOR_TYPES = {pa.string(): tf.string, pa.int64(): tf.int64, pa.float32(): tf.float32}


class Program:
    """A served model's graph with the variables of one of the models that have this graph.

    Models of one job differ by their variables alone, and reading those takes a fiftieth of what loading
    and tracing a graph takes.

    Args:
        uri: the SavedModel.
        weights: what its variables are known by.
    """

    def __init__(self, uri: str, weights: str) -> None:
        self._model = tf.saved_model.load(uri)
        self._weights = weights
        self._signature = self._model.signatures[SIGNATURE]
        self._scorings: dict[tuple[tuple[str, pa.DataType], ...], Any] = {}
        self._one_at_a_time = threading.Lock()
        self.tasks: tuple[str, ...] = tuple(sorted(self._signature.structured_outputs))
        """Names of the outputs, sorted."""

    def score(self, uri: str, weights: str, serialized: Tensor, carry: Mapping[str, pa.DataType]) -> Any:
        """What is carried of a batch of tf.Examples, and the answers of the SavedModel `uri` to it."""
        with self._one_at_a_time:
            if weights != self._weights:
                self._weights = ""
                _restore(self._model, uri)
                self._weights = weights
            return self._scoring(carry)(serialized)

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


class Scorer:
    """A served model, loaded.

    Args:
        program: of its graph.
        uri: the SavedModel; its variables are read whenever the program has another model's.
        weights: what its variables are known by.
    """

    def __init__(self, program: Program, uri: str, weights: str) -> None:
        self.program = program
        self._uri = uri
        self._weights = weights

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the outputs, sorted."""
        return self.program.tasks

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
        try:
            for serialized in read_records(files, batch_size):
                carried, scores = self.program.score(self._uri, self._weights, serialized, carry)
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


_KEPT = 16
"""Graphs of a teacher and its surfaces' students and controls, and some; one takes some 50 MB."""
_PROGRAMS: dict[str, Program] = {}
"""By content of graph and assets, the longest unused first."""


def load_scorer(model_uri: str) -> Scorer:
    """Loads a Model artifact's served model.

    Raises:
        BadInput: if there is no readable SavedModel with our signature in it.
    """
    uri = f"{model_uri}/{SERVING_FOLDER}"
    try:
        graph = _fingerprint([f"{uri}/{GRAPH_FILE}", *tf.io.gfile.glob(f"{uri}/assets/*")])
        weights = _fingerprint(tf.io.gfile.glob(f"{uri}/{VARIABLES}.*"))
        program = _PROGRAMS.pop(graph, None) or Program(uri, weights)
        while len(_PROGRAMS) >= _KEPT:
            del _PROGRAMS[next(iter(_PROGRAMS))]
        _PROGRAMS[graph] = program
        return Scorer(program, uri, weights)
    except Exception as error:  # a damaged SavedModel raises almost anything, protobuf's errors included
        raise _unreadable(uri, f'a SavedModel with a signature "{SIGNATURE}"', error) from error


def _restore(model: Any, uri: str) -> None:
    try:
        status = tf.train.Checkpoint(root=model).read(f"{uri}/{VARIABLES}")
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
    """Of names and bytes of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(f"{path.rpartition('/')[2]} ".encode() + hashlib.sha256(file.read()).digest())
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
