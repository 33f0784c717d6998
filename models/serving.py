"""Exports the served model, which maps serialized raw tf.Examples to the outputs of the hard heads."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import tensorflow as tf

# TensorFlow's public API can read fingerprints, but not write them.
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
        graph: the frozen transform graph of the ranker's features.
        job: defines the names and kinds of the tasks.
    """

    def __init__(self, ranker: Ranker, graph: TransformGraph, job: TrainingJob) -> None:
        super().__init__(name="served_ranker")
        # The ranker must not be an attribute: every attribute is saved, and the ranker has soft heads.
        # Saving a Keras model would also take ten times as long.
        self.served_variables = ranker.served_variables

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES_INPUT)])
        def serve(examples: Tensor) -> dict[str, Tensor]:
            raw = tf.io.parse_example(examples, graph.served_spec) if graph.served_spec else {}
            logits = ranker.hard_logits(graph(graph.with_served_values(raw, tf.size(examples))))
            columns = tf.unstack(logits, num=len(job.tasks), axis=1)
            return {
                name: tf.sigmoid(column) if task.kind == "binary" else column
                for (name, task), column in zip(job.tasks.items(), columns, strict=True)
            }

        self.serve = serve
        # Path → content of the files that all exports share. A plain dict would be saved with the module.
        self.exported_graph = types.SimpleNamespace(files={})


def export_model(uri: str, served: ServedRanker) -> None:
    """Writes the SavedModel to the folder `uri`.

    Its only signature, `serving_default`, has the input `examples`, `[batch]` string, and one output per
    task, `[batch]` float32: a probability, or an expected value on the task's scale. An absent feature is a
    missing value. Columns other than the model's features are ignored, and so are the features that only
    training reads, see `Feature.served_as`.
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
    """Writes the variables, but copies the graph: saving it takes as long as training on a small span."""
    tf.io.gfile.makedirs(f"{uri}/variables")
    tf.train.Checkpoint(root=served).write(f"{uri}/{VARIABLES_PREFIX}")
    # The graph follows variables and assets, because a folder with a graph counts as a model to serve. The
    # fingerprint may be missing.
    for path, content in reversed(served.exported_graph.files.items()):
        tf.io.gfile.makedirs(f"{uri}/{path}".rpartition("/")[0])
        with tf.io.gfile.GFile(f"{uri}/{path}", "wb") as file:
            file.write(content)
    write_fingerprint(uri)
