"""A trial's course: each span is scored before it is learnt, as in the pipeline."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.trials.shared_prefix import Beginning, common_until, name_of, remember, remembered
from experiments.trials.stream import Stream
from experiments.trials.trial import Trial
from experiments.trials.trial_result import Outcome
from models.compiled_learner import CompiledLearner
from models.job import TrainingJob, graph_of
from models.learner import Diverged, Learner
from models.objective import Targets
from models.seeds import path_seed
from models.settings import from_json, to_json

Array = Any

_ROWS_AT_ONCE = 16_384
_GRAPHS = 16
"""So many are kept: a worker gets what one graph serves after each other, and tracing costs seconds."""
_WORTH_COMPILING = 300
"""Steps: XLA takes 5 seconds more for a graph, and 3 milliseconds less for a step."""


class Course:
    """Trains the model of a trial on a stream.

    Args:
        stream: the rows.
        trial: what to do.
        soft: `[rows, distilled tasks]` float32 soft labels, NaN where there are none; None without any.
    """

    def __init__(self, stream: Stream, trial: Trial, soft: Array | None) -> None:
        self._stream = stream
        self._trial = trial
        self._job = trial.job
        self._soft = soft
        self._columns = [stream.tasks.index(name) for name in self._job.tasks]
        self._delayed = np.array([self._job.tasks[name].delayed for name in self._job.distilled_tasks], bool)
        self._fresh = stream.fresh
        self._spec = _spec(stream, self._job)
        features, _ = self._spec
        columns = tuple((name, tuple(column.shape), column.dtype.name) for name, column in features.items())
        self._compiled = self._num_steps() >= _WORTH_COMPILING
        self._learner, self._score = _traced(to_json(graph_of(self._job)), columns, self._compiled)
        self._learner.become(self._job)

    @functools.cached_property
    def _initial(self) -> list[Array]:
        """Of a new model; making one takes as long as learning from thousands of rows."""
        return Learner(self._job, self._spec).values()

    def run(self) -> Outcome:
        """Goes over the spans."""
        stream, trial = self._stream, self._trial
        kept = stream.fresh_rows(range(trial.kept_from, trial.last_span + 1))
        predictions = np.full((len(stream.spans), len(self._columns)), np.nan, np.float32)
        diverged, seconds = "", 0.0
        surfaces = range(len(stream.surface_names)) if trial.per_surface else (None,)
        for surface in surfaces:
            started, spared = time.monotonic(), 0.0
            try:
                spared, learnt = self._begin(surface, predictions)
                self._go_over(range(common_until(trial), trial.last_span + 1), surface, predictions, learnt)
            except Diverged as error:
                diverged = str(error)
            seconds += time.monotonic() - started + spared
        return Outcome(
            rows=kept,
            tasks=tuple(self._job.tasks),
            predictions=predictions[kept],
            diverged=diverged,
            seconds=seconds,
            num_parameters=sum(
                int(np.prod(weight.shape)) for weight in self._learner.ranker.served_variables
            ),
            flops_per_row=flops_per_row(self._learner),
        )

    def _num_steps(self) -> int:
        spans = self._stream.spans
        learnt = (spans >= self._trial.first_span) & (spans <= self._trial.last_span)
        return int((learnt & ~self._stream.held_out).sum()) * self._job.passes // self._job.batch_size

    def _begin(self, surface: int | None, predictions: Array) -> tuple[float, bool]:
        """Goes to where the trial parts from its like; seconds spared in this, and whether it has learnt."""
        trial, started = self._trial, time.monotonic()
        spans = range(trial.first_span, common_until(trial))
        # Compiled steps round otherwise: what a trial gives must not depend on what a worker did before.
        name = f"{name_of(self._stream.key, trial, surface)} {self._compiled}"
        if spans and (known := remembered(name)):
            self._learner.restore(known.values)
            return known.seconds, known.learnt
        self._learner.restore(self._initial)
        learnt = self._go_over(spans, surface, predictions, learnt=False)
        if spans:
            remember(name, Beginning(self._learner.values(), learnt, time.monotonic() - started))
        return 0.0, learnt

    def _go_over(self, spans: range, surface: int | None, predictions: Array, learnt: bool) -> bool:
        trial = self._trial
        for span in spans:
            told = span + trial.age
            scored = self._rows_of(told, surface, self._fresh)
            if learnt and len(scored) and trial.kept_from <= told <= trial.last_span:
                predictions[scored] = self._scored(scored)
            rows = self._rows_of(span, surface, ~self._stream.held_out)
            if len(rows):
                self._learn(span, rows, is_new=not learnt)
                learnt = True
        return learnt

    def _rows_of(self, span: int, surface: int | None, where: Array) -> Array:
        place = self._stream.rows(span)
        chosen = where[place] if surface is None else where[place] & (self._stream.surfaces[place] == surface)
        return place.start + np.flatnonzero(chosen)

    def _learn(self, span: int, rows: Array, *, is_new: bool) -> None:
        hard = self._stream.labels[rows][:, self._columns]
        where = ~np.isnan(hard)
        soft = self._soft_labels(rows)
        if is_new:
            self._learner.start_at_base_rates(np.nansum(hard, axis=0, dtype=np.float64), where.sum(axis=0))
        features = {name: self._stream.features[name][rows] for name in self._job.features}
        for reading_pass in range(self._job.passes):
            order = np.random.default_rng(path_seed(self._job.seed, f"order/{span}/{reading_pass}"))
            turn = order.permutation(len(rows))
            targets = Targets(hard[turn], where[turn], soft[turn], ~np.isnan(soft[turn]))
            turned = {name: column[turn] for name, column in features.items()}
            sums = self._learner.train_block(turned, targets)
            self._learner.require_finite(f"span {span}, pass {reading_pass}", sums)

    def _soft_labels(self, rows: Array) -> Array:
        """A fresh row has the immediate tasks' soft labels alone, a matured one the delayed tasks'."""
        if self._soft is None:
            return np.full((len(rows), len(self._delayed)), np.nan, np.float32)
        twins = self._stream.twins[rows]
        soft = np.where((twins >= 0)[:, None], self._soft[twins], np.nan)
        belongs = self._delayed[None, :] != self._fresh[rows][:, None]
        return np.where(belongs, soft, np.nan).astype(np.float32)

    def _scored(self, rows: Array) -> Array:
        blocks = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            chosen = rows[start : start + _ROWS_AT_ONCE]
            features = {name: tf.constant(self._stream.features[name][chosen]) for name in self._job.features}
            blocks.append(self._score(features).numpy())
        return np.concatenate(blocks)


class _Graphs(NamedTuple):
    """A learner, and what its model says of rows: `[rows, tasks]` on the tasks' own scales."""

    learner: Learner
    score: Any


@functools.lru_cache(_GRAPHS)
def _traced(
    job_json: str, columns: tuple[tuple[str, tuple[int | None, ...], str], ...], compiled: bool
) -> _Graphs:
    """Traced on two rows of zeros, so that no clock counts it."""
    job = from_json(TrainingJob, job_json)
    features = {name: tf.TensorSpec(shape, dtype) for name, shape, dtype in columns}
    learner = (CompiledLearner if compiled else Learner)(job, (features, _targets_spec(job)))
    binary = tf.constant([[task.kind == "binary" for task in job.tasks.values()]])

    def scores(features: Any) -> Any:
        logits = learner.ranker.hard_logits(features)
        return tf.where(binary, tf.sigmoid(logits), logits)

    score = tf.function(scores, input_signature=(features,), autograph=False)
    rows = {name: _zeros(spec) for name, spec in features.items()}
    learner.train_block(rows, Targets(*map(_zeros, _targets_spec(job))))
    score(rows)
    return _Graphs(learner, score)


def _zeros(spec: tf.TensorSpec) -> Array:
    return np.zeros([2, *spec.shape[1:]], spec.dtype.as_numpy_dtype)


def flops_per_row(learner: Learner) -> float:
    """Two for every weight of a served dense layer: embeddings are looked up, not multiplied."""
    dense = {id(variable) for variable in learner.ranker.dense_variables}
    served = [weight for weight in learner.ranker.served_variables if id(weight) in dense]
    return float(sum(2 * np.prod(weight.shape) for weight in served if len(weight.shape) == 2))


def _spec(stream: Stream, job: TrainingJob) -> tuple[dict[str, tf.TensorSpec], Targets]:
    features = {
        name: tf.TensorSpec([None, *stream.features[name].shape[1:]], stream.features[name].dtype)
        for name in job.features
    }
    return features, _targets_spec(job)


def _targets_spec(job: TrainingJob) -> Targets:
    tasks, soft = len(job.tasks), len(job.distilled_tasks)
    return Targets(
        tf.TensorSpec([None, tasks], tf.float32), tf.TensorSpec([None, tasks], tf.bool),
        tf.TensorSpec([None, soft], tf.float32), tf.TensorSpec([None, soft], tf.bool),
    )  # fmt: skip
