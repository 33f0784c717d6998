"""Export of the served model: serialized raw tf.Examples in, one value per task out, only hard heads."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import tensorflow as tf

# The public API only reads fingerprints.
from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint

from models.job import TrainingJob
from models.transform_graph import TransformGraph

if TYPE_CHECKING:
    from models.ranker import Ranker

Tensor = Any

SIGNATURE = "serving_default"
EXAMPLES_INPUT = "examples"
VARIABLES_PREFIX = "variables/variables"
"""Prefix of the checkpoint in a SavedModel."""
GRAPH_FILE = "saved_model.pb"


class ServedRanker(tf.Module):
    """A ranker with its transform graph, for export. Soft heads are neither traced nor saved.

    Args:
        ranker: the trained ranker.
        graph: the frozen transform graph of its features.
        job: names the tasks.
    """

    def __init__(self, ranker: Ranker, graph: TransformGraph, job: TrainingJob) -> None:
        super().__init__(name="served_ranker")
        # No attribute for the ranker: every attribute is saved, soft heads included, and saving a Keras model
        # takes ten times as long.
        self.served_variables = ranker.served_variables

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES_INPUT)])
        def serve(examples: Tensor) -> dict[str, Tensor]:
            logits = ranker.hard_logits(graph(tf.io.parse_example(examples, graph.raw_spec)))
            columns = tf.unstack(logits, num=len(job.tasks), axis=1)
            return {
                name: tf.sigmoid(column) if task.kind == "binary" else column
                for (name, task), column in zip(job.tasks.items(), columns, strict=True)
            }

        self.serve = serve
        # The files that all exports share, by path: graph and assets. `tf.Module` would save a plain dict.
        self.exported_graph = types.SimpleNamespace(files={})


def export_model(uri: str, served: ServedRanker) -> None:
    """Writes the SavedModel to the folder `uri`.

    Its one signature, `serving_default`, takes `examples`, `[batch]` string, and returns by task name
    `[batch]` float32: a probability, or an expected value on the task's scale. An absent feature counts as
    missing. Columns other than the model's features are ignored.
    """
    if served.exported_graph.files:
        _export_variables(uri, served)
        return
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, uri, signatures={SIGNATURE: served.serve}, options=options)
    for path in (f"{uri}/{GRAPH_FILE}", *tf.io.gfile.glob(f"{uri}/assets/*")):
        with tf.io.gfile.GFile(path, "rb") as file:
            served.exported_graph.files[path.removeprefix(f"{uri}/")] = file.read()


def _export_variables(uri: str, served: ServedRanker) -> None:
    """Writes the variables and copies the graph: saving it takes as long as training on a small span."""
    tf.io.gfile.makedirs(f"{uri}/variables")
    tf.train.Checkpoint(root=served).write(f"{uri}/{VARIABLES_PREFIX}")
    # The graph last: a folder with a graph can be served. The fingerprint is not needed for that.
    for path, content in reversed(served.exported_graph.files.items()):
        tf.io.gfile.makedirs(f"{uri}/{path}".rpartition("/")[0])
        with tf.io.gfile.GFile(f"{uri}/{path}", "wb") as file:
            file.write(content)
    write_fingerprint(uri)
