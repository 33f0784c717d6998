"""Labels a span: scores each shard of its examples, stages the labels and publishes one label set."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam.utils.shared import Shared

from components.evaluation.label_checks import LabelChecks, find_label_anomalies, label_statistics
from components.label_store.base import (
    EVENT_DATE,
    LabelSetKey,
    LabelSetRecord,
    SetFacts,
    ShardWriter,
    SoftColumn,
    StagedShard,
    row_schema,
)
from components.label_store.fingerprints import hash_ids
from components.label_store.publication import UnfitLabels, key_from_set_id, refuse_faults
from components.label_store.schemes import open_store
from components.transforms.collecting import run_and_collect
from components.transforms.shards import FRESH_SPLITS, split_files
from eventlog.errors import BadInput
from eventlog.parquet_files import parse_table, write_table
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, LABEL_PREFIX, SOFT_PREFIX, SURFACE
from models.scoring import Scorer, load_scorer
from models.tasks import Task

_FIXED_COLUMNS = {EXAMPLE_ID: pa.string(), EVENT_TIME_MS: pa.int64(), SURFACE: pa.string()}
_SCORING_BATCH_ROWS = 4096
_SAMPLE_ROWS = 100_000
"""Approximate maximum number of a set's rows in the sample for the label checks."""
_LOG = logging.getLogger(__name__)


def soft_column(task: Task) -> SoftColumn:
    """Returns the label store's description of the column with a task's soft labels."""
    link = "sigmoid" if task.kind == "binary" else "identity"
    return SoftColumn(kind=task.kind, link=link, unit=task.unit, scale=task.scale)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledSpan:
    """The result of labelling a span.

    Attributes:
        record: record of the published label set. If another attempt was published first, its record.
        examples_per_surface: surface → number of fresh examples that this attempt has labelled.
        statistics: statistics of the labels, see `label_statistics`.
        anomalies: kind of anomaly → one line per anomaly, see `find_label_anomalies`.
    """

    record: LabelSetRecord
    examples_per_surface: dict[str, int]
    statistics: Any
    anomalies: dict[str, list[str]]


def label_span(
    *,
    examples_uri: str,
    model_uri: str,
    store_uri: str,
    key: LabelSetKey,
    tasks: Mapping[str, Task],
    feature_version: str,
    label_age_spans: int,
    ready_ms: int,
    beam_options: Sequence[str],
    scratch: str,
    checks: LabelChecks,
    previous: Any = None,
    supersede: bool = False,
) -> LabelledSpan:
    """Labels a span's fresh examples with a teacher and publishes the label set.

    Args:
        examples_uri: Examples artifact; its splits `train` and `holdout` are labelled.
        model_uri: the teacher's Model artifact.
        store_uri: URI of the label store, see `open_store`.
        key: key of the set.
        tasks: name → task to label.
        feature_version: the teacher's feature version.
        label_age_spans: the labelled span minus the last span on which the teacher has trained.
        ready_ms: completion time of the examples, in Unix milliseconds; the label lag starts at this time.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
        checks: limits of the label checks, and whether a label set beyond a limit is published.
        previous: statistics of the last published set; None for no drift check.
        supersede: if the key already has a published set, True publishes a new revision, and False publishes
            nothing.

    Raises:
        UnfitLabels: if a row has no example id, if a label is not finite or out of range, or if an anomaly
            has severity `stop`. Nothing is published.
        BadInput: if the teacher lacks a task, an example id appears twice, or a shard cannot be read.
        RuntimeError: if the Beam runner lost a shard.
    """
    started_seconds = time.monotonic()
    columns = {name: soft_column(task) for name, task in tasks.items()}
    sample_folder = f"{scratch.rstrip('/')}/labels-{uuid.uuid4().hex}"
    store = open_store(store_uri)
    writer = store.stage(key, columns)
    files = [file for split in FRESH_SPLITS for file in split_files(examples_uri, split)]

    def build(pipeline: Any) -> Any:
        labelled = pipeline | "Label" >> LabelShards(files, model_uri, writer, tuple(columns), sample_folder)
        return labelled | "Describe" >> beam.Map(dataclasses.asdict)

    staged = [StagedShard(**fields) for fields in run_and_collect(build, beam_options, scratch)]
    missing = {staged_shard_name(file) for file in files} - {shard.name for shard in staged}
    if missing:
        raise RuntimeError(
            f"span {key.span}: the Beam runner lost shards {', '.join(sorted(missing))}. "
            "Nothing was published; run the span again."
        )
    sample = _read_samples(sample_folder)
    refuse_faults(writer.set_id, staged)
    statistics = label_statistics(sample, tasks)
    anomalies = find_label_anomalies(statistics, previous, tasks, checks)
    _refuse_anomalies(writer.set_id, anomalies, checks)
    labelled_unix_seconds = time.time()
    facts = SetFacts(
        feature_version=feature_version,
        label_age_spans=label_age_spans,
        seconds=time.monotonic() - started_seconds,
        extra={
            "lag_seconds": round(labelled_unix_seconds - ready_ms / 1000, 3),
            "event_ms": float(pc.max(sample[EVENT_TIME_MS]).as_py() or 0),
            "ready_ms": float(ready_ms),
            "labelled_ms": float(int(labelled_unix_seconds * 1000)),
        },
    )
    record = store.publish(writer, staged, facts, supersede=supersede)
    return LabelledSpan(
        record=record,
        examples_per_surface=_count_rows_per_surface(staged),
        statistics=statistics,
        anomalies=anomalies,
    )


@dataclasses.dataclass
class LabelShards(beam.PTransform):
    """Scores shards of examples and stages their labels; yields one `StagedShard` per file.

    One Beam element is a shard, never an example. Only `process` yields elements, because a runner may drop
    elements from `finish_bundle`.

    Attributes:
        files: shards of tf.Examples.
        model_uri: the teacher's Model artifact.
        writer: stages the shards of this attempt in the label store.
        tasks: the tasks to label.
        sample_folder: folder for a sample of each shard's rows; the label checks read the samples.
    """

    files: Sequence[str]
    model_uri: str
    writer: ShardWriter
    tasks: tuple[str, ...]
    sample_folder: str

    def expand(self, pipeline: Any) -> Any:
        """Adds the transform to a pipeline."""
        return (
            pipeline
            | "Files" >> beam.Create(list(self.files))
            | "Spread" >> beam.Reshuffle()
            | "Score"
            >> beam.ParDo(_ScoreShard(self.model_uri, self.tasks, self.sample_folder, len(self.files)))
            | "Stage" >> beam.MapTuple(self.writer.write)
        )


class _ScoreShard(beam.DoFn):
    """Scores one shard and writes a sample of its rows; the threads of a worker process share one model."""

    def __init__(self, model_uri: str, tasks: tuple[str, ...], sample_folder: str, num_files: int) -> None:
        self._model_uri = model_uri
        self._tasks = tasks
        self._sample_folder = sample_folder
        self._sample_rows_per_shard = math.ceil(_SAMPLE_ROWS / num_files)
        self._shared = Shared()

    def process(self, file: str) -> Iterator[tuple[str, pa.Table]]:
        """Yields the name of the staged shard and its labels."""
        scorer = self._shared.acquire(lambda: load_scorer(self._model_uri), tag=self._model_uri)
        name, rows = staged_shard_name(file), score_shard(scorer, file, self._tasks)
        # Sampling by hash does not prefer a time or surface, and gives the same sample in every attempt.
        order = np.argsort(hash_ids(rows[EXAMPLE_ID]), kind="stable")[: self._sample_rows_per_shard]
        _write_sample(f"{self._sample_folder}/{name}.parquet", rows.take(pa.array(order)))
        yield name, label_table(rows, self._tasks)


def score_shard(scorer: Scorer, file: str, tasks: Sequence[str]) -> pa.Table:
    """Scores a shard's examples; returns their ids, times, surfaces, hard labels and soft labels.

    Args:
        scorer: the teacher.
        file: a shard of tf.Examples.
        tasks: the tasks to label.

    Returns:
        Columns `example_id`, `event_time_ms`, `surface`, and `label_<task>` and `soft_<task>` float32; one
        row per example, in the shard's order.

    Raises:
        BadInput: if the teacher lacks a task, or the shard cannot be read.
    """
    unknown = sorted(set(tasks) - set(scorer.tasks))
    if unknown:
        raise BadInput(
            f"the teacher has no task {unknown[0]}",
            where=file,
            expected=f"one of {', '.join(scorer.tasks)}",
            got=unknown[0],
            fix="Train the teacher on this task, or do not distil the task.",
        )
    columns = _FIXED_COLUMNS | {LABEL_PREFIX + task: pa.float32() for task in tasks}
    soft = {SOFT_PREFIX + task: pa.float32() for task in tasks}
    batches = list(scorer.score_files([file], columns, batch_size=_SCORING_BATCH_ROWS))
    schema = pa.schema([*columns.items(), *soft.items()])
    if not batches:
        return schema.empty_table()
    scored = pa.Table.from_batches(batches)
    return pa.table([*(scored[name] for name in columns), *(scored[task] for task in tasks)], schema=schema)


def label_table(scored: pa.Table, tasks: Sequence[str]) -> pa.Table:
    """Returns the label rows of a scored shard as `row_schema(tasks)`; the dates are in UTC."""
    if not scored.num_rows:
        return row_schema(tasks).empty_table()
    times = scored[EVENT_TIME_MS].cast(pa.timestamp("ms"))
    dates = pc.floor_temporal(times, unit="day").cast(pa.date32())
    columns = {EXAMPLE_ID: scored[EXAMPLE_ID], EVENT_DATE: dates, SURFACE: scored[SURFACE]}
    soft = [scored[SOFT_PREFIX + task] for task in tasks]
    return pa.table([*columns.values(), *soft], schema=row_schema(tasks))


def staged_shard_name(file: str) -> str:
    """Returns the name of the staged shard of an examples file: `<split>-<file name>`, without `.gz`."""
    path = PurePosixPath(file)
    return f"{path.parent.name.removeprefix('Split-')}-{path.name.removesuffix('.gz')}"


def _write_sample(path: str, rows: pa.Table) -> None:
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    sink = pa.BufferOutputStream()
    write_table(rows, sink)
    # Concurrent attempts at the same shard must not write into each other's file.
    partial = f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(sink.getvalue().to_pybytes())
    tf.io.gfile.rename(partial, path, overwrite=True)


def _read_samples(folder: str) -> pa.Table:
    tables = []
    for path in sorted(tf.io.gfile.glob(f"{folder}/*.parquet")):
        with tf.io.gfile.GFile(path, "rb") as file:
            tables.append(parse_table(file.read(), path))
    tf.io.gfile.rmtree(folder)
    return pa.concat_tables(tables)


def _refuse_anomalies(set_id: str, anomalies: Mapping[str, list[str]], checks: LabelChecks) -> None:
    for kind, severity in (("drift", checks.on_drift), ("skew", checks.on_skew)):
        lines = anomalies[kind]
        for line in lines:
            _LOG.warning("label set %s: %s: %s", set_id, kind, line)
        if lines and severity == "stop":
            raise UnfitLabels(
                f"{len(lines)} {kind} anomalies",
                where=f"labels of span {key_from_set_id(set_id).span}",
                expected="labels close to those of the last set and to the hard labels",
                got=lines[0],
                fix=f"Check the teacher, or set label_checks.on_{kind}: warn to publish such labels.",
            )


def _count_rows_per_surface(shards: Sequence[StagedShard]) -> dict[str, int]:
    counts: dict[str, int] = {}
    # A retried bundle may report a shard twice.
    for shard in {shard.name: shard for shard in shards}.values():
        for surface, rows in shard.rows_per_surface.items():
            counts[surface] = counts.get(surface, 0) + rows
    return dict(sorted(counts.items()))
