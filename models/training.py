"""TFX Trainer's entry point: trains a job on its spans, from the base model if there is one, and exports."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.learner import BlockSums, Diverged, Learner, add_sums
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

Tensor = Any

_LOG = logging.getLogger(__name__)
_TRACED: dict[tuple[str, str], TrainingRun] = {}
"""Runs that this process has finished, by job and feature version. A warm start sets every variable, so it
may take one of them and spare the tracing, which costs as much as training on a small span."""


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
        self.learner = Learner(job, self.reader.block_spec)
        # Kept with the run: tracing what is served takes as long as saving it.
        self.served = ServedRanker(self.learner.ranker, self.graph, job)
        self.spans: list[int] = []

    def resume(self, state_uri: str) -> None:
        """Goes on from a base model: weights, optimizer slots, step and spans.

        Raises:
            BadInput: if the state cannot be read or belongs to another kind of model.
        """
        record = read_record(state_uri)
        check_resumable(state_uri, record, self.job, self.feature_version)
        restore_state(state_uri, ranker=self.learner.ranker, updates=self.learner.updates.state)
        self.spans = list(record.spans)
        _LOG.info("%s goes on from step %d, spans %s", self.job.role, record.step, record.spans[-1:])

    def train_span(self, span: int, files: list[str]) -> None:
        """Trains on the shards of one span, in all passes; a span without examples is not learnt.

        Raises:
            BadInput: if the examples cannot be read; `Diverged` if the loss is no longer finite.
        """
        steps_before = self.learner.step
        for reading_pass in range(self.job.passes):
            start = time.monotonic()
            where = f"{self.job.role}, span {span}, pass {reading_pass}"
            try:
                if not self.spans and not reading_pass:
                    sums, counts = (totals.numpy() for totals in self.reader.label_totals(files))
                    self.learner.start_at_base_rates(sums, counts)
                figures = self._train_pass(files, span, reading_pass, where)
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
                raise _unreadable(span, files, error) from error
            self._write_scalars(figures)
            seconds = time.monotonic() - start
            _LOG.info("%s: %d steps, loss %.4f, %.1f s", where, figures.num_steps, figures.total, seconds)
        if self.learner.step > steps_before:
            self.spans.append(span)

    def export(self, serving_uri: str) -> None:
        """Writes the training state, then the served model, whose presence says that all is there."""
        artifact = serving_uri.rstrip("/").rpartition("/")[0]
        record = StateRecord(
            feature_version=self.feature_version,
            step=self.learner.step,
            spans=self.spans,
            role=self.job.role,
            surface=self.job.surface,
            job_hash=job_hash(self.job),
            job=self.job,
        )
        write_state(
            f"{artifact}/{STATE_FOLDER}",
            record,
            ranker=self.learner.ranker,
            updates=self.learner.updates.state,
        )
        export_model(serving_uri, self.served)

    def _train_pass(self, files: list[str], span: int, reading_pass: int, where: str) -> PassFigures:
        """Trains block by block; one that diverges is the last."""
        sums = self.learner.no_sums()
        for features, targets in self.reader.blocks(files, span=span, reading_pass=reading_pass):
            of_block = self.learner.train_block(features, targets)
            self.learner.require_finite(where, of_block)
            sums = add_sums(sums, of_block)
        return _means(sums)

    def _write_scalars(self, figures: PassFigures) -> None:
        tf.summary.experimental.set_step(self.learner.step)
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
