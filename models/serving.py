"""The served model: serialized raw tf.Examples in, one value per task out, hard heads alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

# Not in the public API, which only reads fingerprints.
from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint

from models.job import TrainingJob
from models.transform_graph import TransformGraph

if TYPE_CHECKING:
    from models.ranker import Ranker

Tensor = Any

SIGNATURE = "serving_default"
EXAMPLES_INPUT = "examples"
VARIABLES = "variables/variables"
"""Where a SavedModel has its variables: the prefix of a checkpoint."""
GRAPH_FILE = "saved_model.pb"


class ServedRanker(tf.Module):
    """A ranker with its transform graph, as exported. A soft head is neither traced nor saved.

    Args:
        ranker: trained.
        graph: the frozen transform graph of the same features.
        job: names the tasks.
    """

    def __init__(self, ranker: Ranker, graph: TransformGraph, job: TrainingJob) -> None:
        super().__init__(name="served_ranker")
        # The variables and not the ranker: whatever is an attribute is saved, soft heads included, and
        # saving a Keras model takes ten times as long.
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
        self.first_export = FirstExport()


class FirstExport:
    """What later exports of the same ranker repeat: the graph and its assets, by path in the SavedModel."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}


def export_model(uri: str, served: ServedRanker) -> None:
    """Writes the SavedModel to the folder `uri`.

    Its one signature, `serving_default`, takes `examples`, `[batch]` string, and returns by task name
    `[batch]` float32: a probability, or an expected value on the task's scale. An absent feature counts as
    missing; columns that are not the model's features are ignored.
    """
    if served.first_export.files:
        _export_again(uri, served)
        return
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, uri, signatures={SIGNATURE: served.serve}, options=options)
    for path in (f"{uri}/{GRAPH_FILE}", *tf.io.gfile.glob(f"{uri}/assets/*")):
        with tf.io.gfile.GFile(path, "rb") as file:
            served.first_export.files[path.removeprefix(f"{uri}/")] = file.read()


def _export_again(uri: str, served: ServedRanker) -> None:
    """Writes what is new, the variables: saving the graph again takes as long as training a small span."""
    tf.io.gfile.makedirs(f"{uri}/variables")
    tf.train.Checkpoint(root=served).write(f"{uri}/{VARIABLES}")
    # The graph last: its presence says that all is there.
    for path, content in reversed(served.first_export.files.items()):
        tf.io.gfile.makedirs(f"{uri}/{path}".rpartition("/")[0])
        with tf.io.gfile.GFile(f"{uri}/{path}", "wb") as file:
            file.write(content)
    write_fingerprint(uri)
