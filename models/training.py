"""Trains a job on spans, with a warm start if there is a base model, and exports the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import tensorflow as tf

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.learner import BlockSums, Diverged, Learner, add_sums
from models.objective import Losses
from models.reading import ExampleReader, shards_by_span
from models.serving import ServedRanker, export_model
from models.settings import from_json, to_json
from models.state import (
    DIVERGED_FILE,
    STATE_FOLDER,
    StateRecord,
    base_state_uri,
    check_warm_start,
    deferred_shards,
    job_hash,
    read_state_record,
    restore_state,
    write_state,
)
from models.transform_graph import TransformGraph, feature_version

_LOG = logging.getLogger(__name__)
TRAINING_PROGRESS = logging.getLogger(f"{__name__}.progress")
"""Gets a line of level INFO about every `_PROGRESS_SECONDS` while a model trains."""
_PROGRESS_SECONDS = 5.0
_FINISHED_RUNS: dict[tuple[str, str], TrainingRun] = {}
"""Finished runs of this process, by job and feature version. A warm start sets every variable that training
changes, so it can
reuse a run with its traced graph. To trace a graph takes as long as training on a small span."""


class FnArgs(Protocol):
    """The fields of TFX's FnArgs that `run_fn` reads."""

    train_files: list[str]
    transform_graph_path: str
    base_model: str | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, str]


def run_fn(fn_args: FnArgs) -> None:
    """Trains on the spans in ascending order, then writes training state and served model.

    It also trains on deferred spans of the base model. If a warm-started training diverges, the reason is
    exported instead of a model, and the base model stays in use.

    Args:
        fn_args: from TFX's Trainer; `custom_config["job"]` is the JSON of a `TrainingJob`. With `curves`, a
            folder, TensorBoard's files of all trainings of the model are there instead of in `model_run_dir`.

    Raises:
        BadInput: if examples, transform graph or base model cannot be used, or training diverges without a
            base model. Nothing is exported then.
    """
    job = from_json(TrainingJob, fn_args.custom_config["job"])
    spans = shards_by_span([*deferred_shards(fn_args.base_model), *fn_args.train_files])
    state_uri = base_state_uri(fn_args.base_model)
    key = (to_json(job), feature_version(fn_args.transform_graph_path))
    # Removed from the cache while in use, so that a failed run is not reused.
    run = _FINISHED_RUNS.pop(key, None) if state_uri is not None else None
    run = run or TrainingRun(job, fn_args.transform_graph_path)
    if state_uri is not None:
        run.warm_start(state_uri)
    writer = tf.summary.create_file_writer(fn_args.custom_config.get("curves", fn_args.model_run_dir))
    try:
        with writer.as_default():
            for span, files in spans.items():
                run.train_span(span, files)
    except Diverged as error:
        if state_uri is None:
            raise
        _write_divergence(fn_args.serving_model_dir, str(error))
        return
    finally:
        writer.close()
    run.export(fn_args.serving_model_dir)
    _FINISHED_RUNS[key] = run


class TrainingRun:
    """Training of one model.

    Args:
        job: the training job.
        transform_graph: folder of the TransformGraph artifact.
    """

    def __init__(self, job: TrainingJob, transform_graph: str) -> None:
        self.job = job
        self.feature_version = feature_version(transform_graph)
        self.graph = TransformGraph(transform_graph, job.features)
        self.reader = ExampleReader(job, self.graph)
        self.learner = Learner(job, self.reader.block_spec)
        # Created once per run: to trace the served model takes as long as its export.
        self.served = ServedRanker(self.learner.ranker, self.graph, job)
        self.spans: list[int] = []
        self._tasks_without_hard_label = list(job.tasks)

    def warm_start(self, state_uri: str) -> None:
        """Restores weights, optimizer slots, step and spans of a base model.

        Raises:
            BadInput: if the state cannot be read or does not fit the job, see `check_warm_start`.
        """
        record = read_state_record(state_uri)
        check_warm_start(state_uri, record, self.job, self.feature_version)
        restore_state(state_uri, ranker=self.learner.ranker, updates=self.learner.updates.state)
        self.spans = list(record.spans)
        self._tasks_without_hard_label = list(record.unlabelled_tasks)
        _LOG.info("%s: warm start from step %d, last span %s", self.job.role, record.step, record.spans[-1:])

    def train_span(self, span: int, files: list[str]) -> None:
        """Trains on the shards of one span, in all passes; a span without examples is not added to `spans`.

        Raises:
            BadInput: if the examples cannot be read.
            Diverged: if the loss or a weight is no longer finite.
        """
        steps_before = self.learner.step
        num_rows = None
        for reading_pass in range(self.job.passes):
            start = time.monotonic()
            try:
                if not self.spans and not reading_pass:
                    label_sums, counts = (totals.numpy() for totals in self.reader.label_totals(files))
                    self.learner.initialize_to_base_rates(label_sums, counts)
                sums, num_rows = self._train_pass(files, span, reading_pass, num_rows)
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
                raise _unreadable(span, files, error) from error
            num_steps = int(sums.num_steps)
            losses = Losses(*(total / max(num_steps, 1) for total in (sums.total, sums.hard, sums.soft)))
            seconds = time.monotonic() - start
            self._write_scalars(losses, span, num_rows / seconds)
            _LOG.info(
                "%s, span %d, pass %d: %d steps, loss %.4f, %.1f s",
                self.job.role, span, reading_pass, num_steps, float(losses.total), seconds,
            )  # fmt: skip
        if self.learner.step > steps_before:
            self.spans.append(span)

    def export(self, serving_uri: str) -> None:
        """Writes the training state, then the served model, so that an artifact with a model is complete."""
        artifact = serving_uri.rstrip("/").rpartition("/")[0]
        record = StateRecord(
            feature_version=self.feature_version,
            step=self.learner.step,
            spans=self.spans,
            role=self.job.role,
            surface=self.job.surface,
            job_hash=job_hash(self.job),
            job=self.job,
            unlabelled_tasks=self._tasks_without_hard_label,
        )
        write_state(
            f"{artifact}/{STATE_FOLDER}",
            record,
            ranker=self.learner.ranker,
            updates=self.learner.updates.state,
        )
        export_model(serving_uri, self.served)

    def _train_pass(
        self, files: list[str], span: int, reading_pass: int, total: int | None
    ) -> tuple[BlockSums, int]:
        """Trains block by block; stops at a block that diverges.

        Args:
            files: the span's shards.
            span: the span.
            reading_pass: number of the pass, from 0.
            total: the span's number of rows for messages; None: not known yet.

        Returns:
            The sums, and the number of rows.
        """
        where = f"{self.job.role}, span {span}, pass {reading_pass}"
        sums, num_rows = self.learner.zero_sums(), 0
        start = last_line = time.monotonic()
        for features, targets in self.reader.blocks(files, span=span, reading_pass=reading_pass):
            block_sums = self.learner.train_block(features, targets)
            self.learner.require_finite(where, block_sums)
            sums = add_sums(sums, block_sums)
            num_rows += len(targets.hard)
            if time.monotonic() - last_line > _PROGRESS_SECONDS:
                last_line = time.monotonic()
                TRAINING_PROGRESS.info(
                    "pass %d of %d, %s", reading_pass + 1, self.job.passes,
                    _progress(num_rows, total, last_line - start),
                )  # fmt: skip
            if self._tasks_without_hard_label:
                has_label = dict(zip(self.job.tasks, np.any(targets.hard_where, axis=0), strict=True))
                self._tasks_without_hard_label = [
                    name for name in self._tasks_without_hard_label if not has_label[name]
                ]
        return sums, num_rows

    def _write_scalars(self, losses: Losses, span: int, rows_per_second: float) -> None:
        # The step counts all updates since the first training, so the curves of all spans are one curve.
        tf.summary.experimental.set_step(self.learner.step)
        tf.summary.scalar("span", span)
        tf.summary.scalar("rows_per_second", rows_per_second)
        tf.summary.scalar("loss/total", losses.total)
        for name, loss in zip(self.job.tasks, losses.hard, strict=True):
            tf.summary.scalar(f"loss/hard/{name}", loss)
        for name, loss in zip(self.job.distilled_tasks, losses.soft, strict=True):
            tf.summary.scalar(f"loss/soft/{name}", loss)


def _progress(num_rows: int, total: int | None, seconds: float) -> str:
    """Rows so far and rows a second; with a known total also the time that is left."""
    rate = f"{num_rows / seconds:,.0f} rows/s"
    if total is None:
        return f"{num_rows:,} rows, {rate}"
    left = (total - num_rows) * seconds / num_rows
    return f"{num_rows:,} of {total:,} rows, {rate}, {left:.0f} s left"


def _write_divergence(serving_uri: str, reason: str) -> None:
    """Writes the reason to the folder of the served model."""
    tf.io.gfile.makedirs(serving_uri)
    with tf.io.gfile.GFile(f"{serving_uri}/{DIVERGED_FILE}", "w") as file:
        file.write(reason)


def _unreadable(span: int, files: list[str], error: Exception) -> BadInput:
    return BadInput(
        "the examples cannot be read",
        where=f"span {span}, {files[0]} and {len(files) - 1} more",
        expected="GZIP TFRecord shards of tf.Examples with the schema's types",
        got=f"{type(error).__name__}: {error}"[:300],
        fix="Write the span's Examples again.",
    )
