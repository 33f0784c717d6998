"""Trains the model of one trial span by span, and scores each span before training on it."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.trials.shared_prefix import PrefixCache, TrainedPrefix, prefix_end, prefix_key
from experiments.trials.stream import ExampleStream
from experiments.trials.trial import Trial
from experiments.trials.trial_result import TrialResult
from models.compiled_learner import CompiledLearner
from models.job import TrainingJob, graph_settings
from models.learner import Diverged, Learner
from models.objective import Targets
from models.seeds import path_seed
from models.settings import from_json, to_json

Array = Any

MIN_STEPS_TO_COMPILE = 300
"""XLA compiles the training steps of trials with at least this many steps.

To compile a graph costs 5 seconds, and each compiled step saves 3 ms. Several trials share one graph.
"""
_ROWS_PER_CALL = 16_384
"""Rows that are scored in one call."""
_MAX_CACHED_GRAPHS = 16
"""Graphs that a worker process keeps, because tracing one takes seconds."""


class TrialRunner:
    """Trains the model of one trial and scores with it.

    Args:
        stream: the rows.
        trial: the settings.
        soft_labels: `[rows, distilled tasks]` float32, NaN for none; None for a teacher or control.
        prefixes: cache of trained prefixes, which the trial reads and fills.
    """

    def __init__(
        self, stream: ExampleStream, trial: Trial, soft_labels: Array | None, prefixes: PrefixCache
    ) -> None:
        self._stream = stream
        self._trial = trial
        self._job = trial.job
        self._soft_labels = soft_labels
        self._prefixes = prefixes
        self._columns = [stream.tasks.index(name) for name in self._job.tasks]
        self._delays = np.array([self._job.tasks[name].delay for name in self._job.distilled_tasks], np.int32)
        self._fresh = stream.fresh
        self._compiled = self._num_steps() >= MIN_STEPS_TO_COMPILE
        features = {name: stream.features[name] for name in self._job.features}
        shapes = tuple(
            (name, (None, *column.shape[1:]), column.dtype.name) for name, column in features.items()
        )
        graph = to_json(graph_settings(self._job))
        self._spec, self._learner, self._score = traced_model(graph, shapes, self._compiled)
        self._learner.switch_job(self._job)

    @functools.cached_property
    def _initial_values(self) -> list[Array]:
        """State of a new model. Cached: creating a model takes as long as training on thousands of rows."""
        return Learner(self._job, self._spec).values()

    def run(self) -> TrialResult:
        """Scores each span of the trial, then trains on it; returns the predictions and costs."""
        stream, trial = self._stream, self._trial
        rows = stream.fresh_rows(range(trial.kept_from, trial.last_span + 1))
        predictions = np.full((len(stream.spans), len(self._columns)), np.nan, np.float32)
        diverged, seconds = "", 0.0
        surfaces = range(len(stream.surface_names)) if trial.per_surface else (None,)
        for surface in surfaces:
            started, saved_seconds = time.monotonic(), 0.0
            try:
                saved_seconds, has_trained = self._train_prefix(surface, predictions)
                spans = range(prefix_end(trial), trial.last_span + 1)
                self._score_and_train(spans, surface, predictions, has_trained)
            except Diverged as error:
                diverged = str(error)
            seconds += time.monotonic() - started + saved_seconds
        return TrialResult(
            rows=rows,
            tasks=tuple(self._job.tasks),
            predictions=predictions[rows],
            diverged=diverged,
            seconds=seconds,
            num_parameters=sum(
                int(np.prod(weight.shape)) for weight in self._learner.ranker.served_variables
            ),
            flops_per_row=flops_per_row(self._learner),
        )

    def _num_steps(self) -> int:
        """The approximate number of training steps of the trial."""
        spans = self._stream.spans
        where = (spans >= self._trial.first_span) & (spans <= self._trial.last_span) & ~self._stream.held_out
        return int(where.sum()) * self._job.passes // self._job.batch_size

    def _train_prefix(self, surface: int | None, predictions: Array) -> tuple[float, bool]:
        """Trains a new model on the shared prefix, or restores the trained model from the cache.

        Returns:
            The training seconds that the cache saved, and whether the model has trained on any row.
        """
        trial, started = self._trial, time.monotonic()
        spans = range(trial.first_span, prefix_end(trial))
        key = prefix_key(self._stream.key, trial, surface, self._compiled)
        if spans and (prefix := self._prefixes.get(key)):
            self._learner.restore(prefix.values)
            return prefix.seconds, prefix.has_trained
        self._learner.restore(self._initial_values)
        has_trained = self._score_and_train(spans, surface, predictions, has_trained=False)
        if spans:
            seconds = time.monotonic() - started
            self._prefixes[key] = TrainedPrefix(self._learner.values(), has_trained, seconds)
        return 0.0, has_trained

    def _score_and_train(
        self, spans: range, surface: int | None, predictions: Array, has_trained: bool
    ) -> bool:
        """Scores each span, then trains on it; writes the predictions into `predictions`.

        Returns:
            Whether the model has trained on any row, now or before (`has_trained`).
        """
        trial = self._trial
        for span in spans:
            scored_span = span + trial.extra_age
            rows = self._rows(scored_span, surface, self._fresh)
            if has_trained and len(rows) and trial.kept_from <= scored_span <= trial.last_span:
                predictions[rows] = self._predict(rows)
            rows = self._rows(span, surface, ~self._stream.held_out)
            if len(rows):
                self._train(span, rows, is_new=not has_trained)
                has_trained = True
        return has_trained

    def _rows(self, span: int, surface: int | None, where: Array) -> Array:
        """Indices of the rows of a span and surface (None: all) for which `where`, `[rows]` bool, is True."""
        rows = self._stream.rows(span)
        where = where[rows] if surface is None else where[rows] & (self._stream.surfaces[rows] == surface)
        return rows.start + np.flatnonzero(where)

    def _train(self, span: int, rows: Array, *, is_new: bool) -> None:
        """Trains on `rows` of a span; first sets the output biases of a new model to the base rates."""
        hard = self._stream.labels[rows][:, self._columns]
        where = ~np.isnan(hard)
        soft = self._soft_labels_of(rows)
        if is_new:
            self._learner.initialize_to_base_rates(
                np.nansum(hard, axis=0, dtype=np.float64), where.sum(axis=0)
            )
        features = {name: self._stream.features[name][rows] for name in self._job.features}
        for training_pass in range(self._job.passes):
            random = np.random.default_rng(path_seed(self._job.seed, f"order/{span}/{training_pass}"))
            order = random.permutation(len(rows))
            targets = Targets(hard[order], where[order], soft[order], ~np.isnan(soft[order]))
            block = {name: column[order] for name, column in features.items()}
            sums = self._learner.train_block(block, targets)
            self._learner.require_finite(f"span {span}, pass {training_pass}", sums)

    def _soft_labels_of(self, rows: Array) -> Array:
        """The soft labels of `rows`: `[rows, distilled tasks]` float32, NaN for none.

        A task has its soft label in the row of its hard label: for a delayed task, in the matured row.
        """
        if self._soft_labels is None:
            return np.full((len(rows), len(self._delays)), np.nan, np.float32)
        fresh_rows = self._stream.fresh_row_indices[rows]
        soft = np.where((fresh_rows >= 0)[:, None], self._soft_labels[fresh_rows], np.nan)
        ages = self._stream.spans[rows] - self._stream.spans[fresh_rows]
        where = ages[:, None] == self._delays[None, :]
        return np.where(where, soft, np.nan).astype(np.float32)

    def _predict(self, rows: Array) -> Array:
        """`[rows, tasks]` float32 predictions on the tasks' scales, probabilities for binary tasks."""
        blocks = []
        for start in range(0, len(rows), _ROWS_PER_CALL):
            block = rows[start : start + _ROWS_PER_CALL]
            features = {
                name: tf.constant(self._stream.scored_column(name, block)) for name in self._job.features
            }
            blocks.append(self._score(features).numpy())
        return np.concatenate(blocks)


class TracedModel(NamedTuple):
    """A learner and its traced scoring function.

    Attributes:
        spec: tensor specs of the features and the `Targets`.
        learner: trains the model.
        score: function from features to `[rows, tasks]` predictions on the tasks' scales.
    """

    spec: tuple[dict[str, tf.TensorSpec], Targets]
    learner: Learner
    score: Any


@functools.lru_cache(_MAX_CACHED_GRAPHS)
def traced_model(
    graph: str, shapes: tuple[tuple[str, tuple[int | None, ...], str], ...], compiled: bool
) -> TracedModel:
    """Builds a model and traces it on two rows of zeros, so that `seconds` of a trial include no tracing.

    Args:
        graph: `graph_settings` of a job, as JSON.
        shapes: name, shape and dtype of each feature.
        compiled: whether XLA compiles the training steps.
    """
    job = from_json(TrainingJob, graph)
    features = {name: tf.TensorSpec(shape, dtype) for name, shape, dtype in shapes}
    num_tasks, num_distilled = len(job.tasks), len(job.distilled_tasks)
    targets = Targets(
        tf.TensorSpec([None, num_tasks], tf.float32), tf.TensorSpec([None, num_tasks], tf.bool),
        tf.TensorSpec([None, num_distilled], tf.float32), tf.TensorSpec([None, num_distilled], tf.bool),
    )  # fmt: skip
    learner = (CompiledLearner if compiled else Learner)(job, (features, targets))
    binary = tf.constant([[task.kind == "binary" for task in job.tasks.values()]])

    def predict(features: Any) -> Any:
        logits = learner.ranker.hard_logits(features)
        return tf.where(binary, tf.sigmoid(logits), logits)

    score = tf.function(predict, input_signature=(features,), autograph=False)
    rows = {name: _zeros(spec) for name, spec in features.items()}
    learner.train_block(rows, Targets(*map(_zeros, targets)))
    score(rows)
    return TracedModel((features, targets), learner, score)


def _zeros(spec: tf.TensorSpec) -> Array:
    """Two rows of zeros."""
    return np.zeros([2, *spec.shape[1:]], spec.dtype.as_numpy_dtype)


def flops_per_row(learner: Learner) -> float:
    """Number of multiplications and additions to serve one row: 2 for each weight of a served dense layer."""
    dense = {id(variable) for variable in learner.ranker.dense_variables}
    served = [weight for weight in learner.ranker.served_variables if id(weight) in dense]
    return float(sum(2 * np.prod(weight.shape) for weight in served if len(weight.shape) == 2))
