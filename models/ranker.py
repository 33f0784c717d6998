"""Keras model for teacher, student and control, which differ only by their `TrainingJob`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.architecture import Architecture
from models.features import Feature
from models.job import TrainingJob
from models.losses import ziln_expectation
from models.seeds import path_seed

Tensor = Any
_INITIAL_POSITIVE_LOGIT = 3.0
"""Initial logit of the probability that a zero-inflated label is above 0."""


class RankerLogits(NamedTuple):
    """Outputs of a ranker for a batch.

    Attributes:
        hard: `[batch, tasks]` float32, logits of binary tasks and expected values of regressions.
        soft: `[batch, tasks with auxiliary distillation]` float32, the outputs of their soft heads.
        ziln_parameters: `[batch, tasks with loss ziln, 3]` float32, parameters of the distribution whose
            expectation is in `hard`; see `models.losses.zero_inflated_loss`.
    """

    hard: Tensor
    soft: Tensor
    ziln_parameters: Tensor


class HiddenLayer(tf.keras.layers.Layer):
    """Dense layer with ReLU, then the architecture's clipping and dropout. `path` sets name and seeds."""

    def __init__(self, width: int, path: str, architecture: Architecture, seed: int) -> None:
        super().__init__(name=path.replace("/", "_"))
        self._dense = tf.keras.layers.Dense(
            width,
            activation="relu",
            kernel_initializer=tf.keras.initializers.HeNormal(seed=path_seed(seed, path)),
            name=self.name,
        )
        self._clip = architecture.activation_clip
        self._dropout = architecture.dropout
        self._dropout_path = f"{path}/dropout"

    def build(self, input_shape: Tensor) -> None:
        """Creates the variables."""
        self._dense.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: Tensor, dropout_seed: Tensor | None) -> Tensor:
        """`[batch, width]` activations; without a `dropout_seed` no unit is dropped."""
        hidden = self._dense(inputs)
        if self._clip is not None:
            hidden = tf.minimum(hidden, self._clip)
        return apply_dropout(hidden, self._dropout, self._dropout_path, dropout_seed)


class Ranker(tf.keras.Model):
    """Embeddings, optional TFRS cross layers, a shared trunk, and per task a tower and a logit layer.

    A task with auxiliary distillation also has a soft head.

    The constructor creates every variable with a seed that depends only on the job's seed and the variable's
    path. So neither the order of calls nor a soft head changes an initial value.

    Args:
        job: defines the features, the tasks, the soft heads, the sizes and the seed.

    Reference: Khani et al., RecSys '24: separate logits for hard and soft labels.
    """

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(name="ranker")
        architecture = job.architecture
        self._features: Mapping[str, Feature] = dict(job.features)
        self._tasks = tuple(job.tasks)
        self._zero_inflated = tuple(name for name, task in job.tasks.items() if task.loss == "ziln")
        self._soft_heads = {name: job.distillation[name] for name in job.auxiliary_tasks}
        self._seed = job.seed
        self._architecture = architecture
        embedded = [name for name, feature in self._features.items() if feature.embedded]
        # Checkpoints use the names of these attributes as keys: a rename makes existing states unreadable.
        self._embeddings = {name: self._embedding_table(name) for name in embedded}
        width = architecture.embedding_size * len(embedded) + len(self._features) - len(embedded)
        self._cross = [self._cross_layer(index, width) for index in range(architecture.cross_layers)]
        self._trunk, width = self._hidden_layers("trunk", architecture.trunk, width)
        towers = {
            name: self._hidden_layers(f"tower/{name}", architecture.tower, width) for name in self._tasks
        }
        self._towers = {name: layers for name, (layers, _) in towers.items()}
        last_width = architecture.tower[-1] if architecture.tower else width
        self._logits = {
            name: self._logit_layer(f"logit/{name}", last_width, 3 if name in self._zero_inflated else 1)
            for name in self._tasks
        }
        self._soft_towers = {
            name: self._hidden_layers(f"soft_tower/{name}", architecture.tower, width)[0]
            for name, distillation in self._soft_heads.items()
            if distillation.head == "tower"
        }
        self._soft_logits = {
            name: self._logit_layer(f"soft_logit/{name}", last_width, 1) for name in self._soft_heads
        }
        self.built = True

    def call(self, features: Mapping[str, Tensor], dropout_seed: Tensor | None = None) -> RankerLogits:
        """Outputs of all heads.

        Args:
            features: columns by name, from `TransformGraph`.
            dropout_seed: scalar int64 that selects the units to drop; different in every step. None outside
                training: no unit is dropped.
        """
        trunk = self._apply_layers(self._trunk, self._inputs(features, dropout_seed), dropout_seed)
        towers = {name: self._apply_layers(self._towers[name], trunk, dropout_seed) for name in self._tasks}
        raw = {name: self._logits[name](towers[name]) for name in self._tasks}
        soft = [self._soft_output(name, trunk, towers[name], dropout_seed) for name in self._soft_heads]
        ziln_parameters = [raw[name] for name in self._zero_inflated]
        rows = tf.shape(trunk)[0]
        return RankerLogits(
            self._hard_outputs(raw),
            tf.concat(soft, axis=1) if soft else tf.zeros([rows, 0]),
            tf.stack(ziln_parameters, axis=1) if ziln_parameters else tf.zeros([rows, 0, 3]),
        )

    def hard_logits(self, features: Mapping[str, Tensor]) -> Tensor:
        """`[batch, tasks]` float32: logits and expected values of the hard heads, without dropout.

        The soft heads do not become part of the traced graph.
        """
        trunk = self._apply_layers(self._trunk, self._inputs(features, None), None)
        towers = {name: self._apply_layers(self._towers[name], trunk, None) for name in self._tasks}
        return self._hard_outputs({name: self._logits[name](tower) for name, tower in towers.items()})

    def _hard_outputs(self, raw: Mapping[str, Tensor]) -> Tensor:
        """`[batch, tasks]`: the outputs of the logit layers, with expectations instead of ziln parameters."""
        columns = [
            ziln_expectation(output) if name in self._zero_inflated else output
            for name, output in raw.items()
        ]
        return tf.concat(columns, axis=1)

    def initialize_biases(self, outputs: Mapping[str, float]) -> None:
        """Sets the biases of the hard and soft heads of some tasks.

        Without this, the first updates of a rare task mainly learn its base rate, with large gradients in
        the shared layers.

        Args:
            outputs: task → initial output of its heads: a logit, or an expected value on the task's scale.
        """
        for heads in (self._logits, self._soft_logits):
            for name in outputs.keys() & heads.keys():
                output = outputs[name]
                if heads is self._logits and name in self._zero_inflated:
                    # The share of zeros is unknown: start with few zeros and a standard deviation of 1.
                    mean = output * (1 + math.exp(-_INITIAL_POSITIVE_LOGIT))
                    heads[name].bias.assign([_INITIAL_POSITIVE_LOGIT, mean, 0.0])
                else:
                    heads[name].bias.assign([output])

    @property
    def embedding_variables(self) -> list[Tensor]:
        """The embedding tables, whose gradients are sparse."""
        return list(self._embeddings.values())

    @property
    def dense_variables(self) -> list[Tensor]:
        """All trainable variables except the embedding tables."""
        embeddings = {id(variable) for variable in self.embedding_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in embeddings]

    @property
    def served_variables(self) -> list[Tensor]:
        """All trainable variables except those of the soft heads, in the order of the control's variables."""
        soft_layers = [*self._soft_logits.values()]
        for tower in self._soft_towers.values():
            soft_layers.extend(tower)
        soft = {id(variable) for layer in soft_layers for variable in layer.trainable_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in soft]

    def _inputs(self, features: Mapping[str, Tensor], dropout_seed: Tensor | None) -> Tensor:
        """`[batch, width]` float32: embeddings, then numbers, after input dropout and cross layers."""
        columns = [self._embedded(name, features[name]) for name in self._embeddings]
        numbers = [features[name] for name, feature in self._features.items() if not feature.embedded]
        if numbers:
            columns.append(tf.stack(numbers, axis=1))
        inputs = apply_dropout(
            tf.concat(columns, axis=1), self._architecture.input_dropout, "input/dropout", dropout_seed
        )
        crossed = inputs
        for layer in self._cross:
            crossed = layer(inputs, crossed)
        return crossed

    def _embedded(self, name: str, ids: Tensor) -> Tensor:
        vectors = tf.nn.embedding_lookup(self._embeddings[name], ids)
        if self._features[name].kind != "bag":
            return vectors
        present = tf.cast(ids > 0, tf.float32)[:, :, tf.newaxis]
        return tf.math.divide_no_nan(tf.reduce_sum(vectors * present, 1), tf.reduce_sum(present, 1))

    def _soft_output(self, name: str, trunk: Tensor, tower: Tensor, dropout_seed: Tensor | None) -> Tensor:
        scale = self._soft_heads[name].trunk_gradient_scale
        if name not in self._soft_towers:
            return self._soft_logits[name](scale_gradient(tower, scale))
        soft_tower = self._apply_layers(self._soft_towers[name], scale_gradient(trunk, scale), dropout_seed)
        return self._soft_logits[name](soft_tower)

    @staticmethod
    def _apply_layers(layers: Sequence[HiddenLayer], inputs: Tensor, dropout_seed: Tensor | None) -> Tensor:
        for layer in layers:
            inputs = layer(inputs, dropout_seed)
        return inputs

    def _embedding_table(self, name: str) -> Tensor:
        path = f"embedding/{name}"
        initializer = tf.keras.initializers.RandomNormal(stddev=0.05, seed=path_seed(self._seed, path))
        shape = (self._features[name].num_buckets + 1, self._architecture.embedding_size)
        return tf.Variable(initializer(shape), name=path)

    def _cross_layer(self, index: int, width: int) -> Tensor:
        path = f"cross/{index}"
        initializer = tf.keras.initializers.GlorotNormal(seed=path_seed(self._seed, path))
        # Cross names its inner layer by a counter of the process. The reset gives all models equal names.
        tf.keras.backend.reset_uids()
        layer = tfrs.layers.feature_interaction.Cross(kernel_initializer=initializer, name=f"cross_{index}")
        layer(tf.zeros([1, width]))
        return layer

    def _hidden_layers(self, path: str, widths: Sequence[int], width: int) -> tuple[list[HiddenLayer], int]:
        layers = []
        for index, layer_width in enumerate(widths):
            layer = HiddenLayer(layer_width, f"{path}/{index}", self._architecture, self._seed)
            with tf.name_scope(f"{path}/{index}"):
                layer.build((None, width))
            layers.append(layer)
            width = layer_width
        return layers, width

    def _logit_layer(self, path: str, width: int, units: int) -> Tensor:
        initializer = tf.keras.initializers.GlorotUniform(seed=path_seed(self._seed, path))
        layer = tf.keras.layers.Dense(units, kernel_initializer=initializer, name=path.replace("/", "_"))
        with tf.name_scope(path):
            layer.build((None, width))
        return layer


def apply_dropout(values: Tensor, share: float, path: str, dropout_seed: Tensor | None) -> Tensor:
    """`values` after dropout of a share of them; unchanged without a seed.

    Dropout is stateless and depends only on path and seed. So a repeated or resumed run drops the same units,
    and a soft head does not change the dropout of the shared layers.
    """
    if not share or dropout_seed is None:
        return values
    seed = tf.stack([tf.constant(path_seed(0, path), tf.int64), tf.cast(dropout_seed, tf.int64)])
    return tf.nn.experimental.stateless_dropout(values, share, seed)


def scale_gradient(inputs: Tensor, factor: float) -> Tensor:
    """`inputs` unchanged, with their gradient multiplied by `factor`."""
    if factor == 1:
        return inputs
    constant = tf.stop_gradient(inputs)
    # The difference is exactly 0, so soft head and hard head have exactly the same input.
    return constant + factor * (inputs - constant)
