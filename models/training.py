"""TFX Trainer's entry point: trains a job on its spans, from the base model if there is one, and exports."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.objective import Losses, Objective, Targets
from models.ranker import Ranker
from models.reading import ExampleReader, spans_of
from models.serving import ServedRanker, export_model
from models.settings import from_json, to_json
from models.state import (
    DIVERGED_FILE,
    STATE_FOLDER,
    StateRecord,
    check_resumable,
    job_hash,
    read_record,
    restore_state,
    state_uri_of,
    unlearned_files,
    write_state,
)
from models.transform_graph import TransformGraph, feature_version
from models.updates import Updates

Tensor = Any

_LOG = logging.getLogger(__name__)
_TRACED: dict[tuple[str, str], TrainingRun] = {}
"""Runs that this process has finished, by job and feature version. A warm start sets every variable, so it
may take one of them and spare the tracing, which costs as much as training on a small span."""


class Diverged(BadInput):
    """The loss or a weight is no longer finite."""


class FnArgs(Protocol):
    """The part of TFX's FnArgs that is read. Candidates are judged by a component of their own, not here."""

    train_files: list[str]
    transform_graph_path: str
    base_model: str | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, str]


class PassFigures(NamedTuple):
    """Means over the batches of one pass; a batch without a label of a task counts 0 for it.

    Attributes:
        num_steps: int.
        total: scalar float32.
        hard: `[tasks]` float32.
        soft: `[distilled tasks]` float32.
    """

    num_steps: int
    total: float
    hard: np.ndarray
    soft: np.ndarray


class BlockSums(NamedTuple):
    """The same of some batches, added up, as tensors."""

    num_steps: Tensor
    total: Tensor
    hard: Tensor
    soft: Tensor


def run_fn(fn_args: FnArgs) -> None:
    """Trains span by span in rising order, each in all its passes, then writes state and served model.

    Spans that the base model has not learnt, since its candidates were discarded, come first. A training
    that diverges exports its reason in the place of a model, and the base model stays the good one.

    Args:
        fn_args: as TFX's Trainer gives them; `custom_config["job"]` is the JSON of a `TrainingJob`.

    Raises:
        BadInput: if examples, transform graph or base model cannot be used, or training diverges and there
            is no base model to stay with. Nothing is exported then.
    """
    job = from_json(TrainingJob, fn_args.custom_config["job"])
    spans = spans_of([*unlearned_files(fn_args.base_model), *fn_args.train_files])
    state_uri = state_uri_of(fn_args.base_model)
    key = (to_json(job), feature_version(fn_args.transform_graph_path))
    # Out of the store while it is used: a run that fails is not used again.
    run = _TRACED.pop(key, None) if state_uri is not None else None
    run = run or TrainingRun(job, fn_args.transform_graph_path)
    if state_uri is not None:
        run.resume(state_uri)
    writer = tf.summary.create_file_writer(fn_args.model_run_dir)
    try:
        with writer.as_default():
            for span, files in spans.items():
                run.train_span(span, files)
    except Diverged as error:
        if state_uri is None:
            raise
        write_divergence(fn_args.serving_model_dir, str(error))
        return
    finally:
        writer.close()
    run.export(fn_args.serving_model_dir)
    _TRACED[key] = run


class TrainingRun:
    """One model in training.

    Args:
        job: what to train.
        transform_graph: the TransformGraph artifact's folder.
    """

    def __init__(self, job: TrainingJob, transform_graph: str) -> None:
        self.job = job
        self.feature_version = feature_version(transform_graph)
        self.graph = TransformGraph(transform_graph, job.features)
        self.reader = ExampleReader(job, self.graph)
        self.ranker = Ranker(job)
        self.updates = Updates(job.optimizer, self.ranker.embedding_variables, self.ranker.dense_variables)
        # Kept with the run: tracing what is served takes as long as saving it.
        self.served = ServedRanker(self.ranker, self.graph, job)
        self.spans: list[int] = []
        self._objective = Objective(job)
        # The whole block in the graph: a step from Python costs as much as a small batch.
        self.train_block = tf.function(self._train_block, input_signature=self.reader.block_spec)

    def resume(self, state_uri: str) -> None:
        """Goes on from a base model: weights, optimizer slots, step and spans.

        Raises:
            BadInput: if the state cannot be read or belongs to another kind of model.
        """
        record = read_record(state_uri)
        check_resumable(state_uri, record, self.job, self.feature_version)
        restore_state(state_uri, ranker=self.ranker, updates=self.updates.state)
        self.spans = list(record.spans)
        _LOG.info("%s goes on from step %d, spans %s", self.job.role, record.step, record.spans[-1:])

    def train_span(self, span: int, files: list[str]) -> None:
        """Trains on the shards of one span, in all passes; a span without examples is not learnt.

        Raises:
            BadInput: if the examples cannot be read; `Diverged` if the loss is no longer finite.
        """
        steps_before = int(self.updates.step)
        for reading_pass in range(self.job.passes):
            start = time.monotonic()
            where = f"{self.job.role}, span {span}, pass {reading_pass}"
            try:
                if not self.spans and not reading_pass:
                    self._start_at_base_rates(files)
                figures = self._train_pass(files, span, reading_pass, where)
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
                raise _unreadable(span, files, error) from error
            self._write_scalars(figures)
            seconds = time.monotonic() - start
            _LOG.info("%s: %d steps, loss %.4f, %.1f s", where, figures.num_steps, figures.total, seconds)
        if int(self.updates.step) > steps_before:
            self.spans.append(span)

    def export(self, serving_uri: str) -> None:
        """Writes the training state, then the served model, whose presence says that all is there."""
        artifact = serving_uri.rstrip("/").rpartition("/")[0]
        record = StateRecord(
            feature_version=self.feature_version,
            step=int(self.updates.step),
            spans=self.spans,
            role=self.job.role,
            surface=self.job.surface,
            job_hash=job_hash(self.job),
            job=self.job,
        )
        write_state(f"{artifact}/{STATE_FOLDER}", record, ranker=self.ranker, updates=self.updates.state)
        export_model(serving_uri, self.served)

    def _train_pass(self, files: list[str], span: int, reading_pass: int, where: str) -> PassFigures:
        """Trains block by block; one that diverges is the last."""
        sums = _no_sums(self.job)
        for features, targets in self.reader.blocks(files, span=span, reading_pass=reading_pass):
            of_block = self.train_block(features, targets)
            self._require_finite(where, of_block)
            sums = _add(sums, of_block)
        return _means(sums)

    def _train_block(self, features: Mapping[str, Tensor], targets: Targets) -> BlockSums:
        """Trains on the batches of a block, in their order; the last one may be smaller."""
        sums = _no_sums(self.job)
        for start in tf.range(0, tf.shape(targets.hard)[0], self.job.batch_size):
            end = start + self.job.batch_size
            batch = {name: column[start:end] for name, column in features.items()}
            losses = self._train_step(batch, Targets(*(column[start:end] for column in targets)))
            sums = _add(sums, BlockSums(tf.constant(1), losses.total, losses.hard, losses.soft))
        return sums

    @tf.autograph.experimental.do_not_convert
    def _train_step(self, features: Mapping[str, Tensor], targets: Targets) -> Losses:
        """One update. Nothing in it needs AutoGraph, which would rewrite all of Keras for seconds."""
        with tf.GradientTape() as tape:
            losses = self._objective(self.ranker(features, self.updates.step), targets)
        self.updates.apply(tape.gradient(losses.total, self.updates.variables))
        return losses

    def _start_at_base_rates(self, files: list[str]) -> None:
        sums, counts = (totals.numpy() for totals in self.reader.label_totals(files))
        outputs = {}
        for (name, task), total, count in zip(self.job.tasks.items(), sums, counts, strict=True):
            if task.kind == "binary":
                # Half a row of either class: the logit of a task without positives is finite.
                outputs[name] = math.log((total + 0.5) / (count - total + 0.5))
            elif count:
                outputs[name] = total / count
        self.ranker.start_at(outputs)

    def _require_finite(self, where: str, sums: BlockSums) -> None:
        finite = all(bool(tf.reduce_all(tf.math.is_finite(variable))) for variable in self.updates.variables)
        loss = float(sums.total)
        if not math.isfinite(loss) or not finite:
            raise Diverged(
                "training diverged",
                where=where,
                expected="a finite loss and finite weights",
                got=f"loss {loss}" + ("" if finite else " and weights that are not finite"),
                fix="Lower learning_rate, or use warm_up_steps, activation_clip or clippy; check the labels.",
            )

    def _write_scalars(self, figures: PassFigures) -> None:
        tf.summary.experimental.set_step(int(self.updates.step))
        tf.summary.scalar("loss/total", figures.total)
        for name, loss in zip(self.job.tasks, figures.hard, strict=True):
            tf.summary.scalar(f"loss/hard/{name}", loss)
        for name, loss in zip(self.job.distilled_tasks, figures.soft, strict=True):
            tf.summary.scalar(f"loss/soft/{name}", loss)


def write_divergence(serving_uri: str, reason: str) -> None:
    """Leaves the reason where the served model would be."""
    tf.io.gfile.makedirs(serving_uri)
    with tf.io.gfile.GFile(f"{serving_uri}/{DIVERGED_FILE}", "w") as file:
        file.write(reason)


def _no_sums(job: TrainingJob) -> BlockSums:
    return BlockSums(
        tf.constant(0),
        tf.constant(0.0),
        tf.zeros([len(job.tasks)]),
        tf.zeros([len(job.distilled_tasks)]),
    )


def _add(sums: BlockSums, more: BlockSums) -> BlockSums:
    return BlockSums(*(total + value for total, value in zip(sums, more, strict=True)))


def _means(sums: BlockSums) -> PassFigures:
    steps = int(sums.num_steps)
    divisor = max(steps, 1)
    return PassFigures(
        steps, float(sums.total) / divisor, sums.hard.numpy() / divisor, sums.soft.numpy() / divisor
    )


def _unreadable(span: int, files: list[str], error: Exception) -> BadInput:
    return BadInput(
        "the examples cannot be read",
        where=f"span {span}, {files[0]} and {len(files) - 1} more",
        expected="GZIP TFRecord shards of tf.Examples with the schema's types",
        got=f"{type(error).__name__}: {error}"[:300],
        fix="Write the span's Examples again.",
    )
