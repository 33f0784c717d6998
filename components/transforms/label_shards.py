"""Soft labels of one span: score each shard of its examples, stage the labels, publish them together."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
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
from components.label_store.publication import UnfitLabels, key_of, refuse_faults
from components.label_store.schemes import open_store
from components.transforms.collecting import run_and_collect
from components.transforms.shards import FRESH_SPLITS, split_files
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, LABEL_PREFIX, SOFT_PREFIX, SURFACE
from models.scoring import Scorer, load_scorer
from models.tasks import Task

_CARRIED = {EXAMPLE_ID: pa.string(), EVENT_TIME_MS: pa.int64(), SURFACE: pa.string()}
_SCORING_ROWS = 4096
_JUDGED_ROWS = 100_000
"""At most about so many rows of a set are looked at before it is published."""
_LOG = logging.getLogger(__name__)


def soft_column(task: Task) -> SoftColumn:
    """What a teacher's served output of a task means, as the store records it."""
    link = "sigmoid" if task.kind == "binary" else "identity"
    return SoftColumn(kind=task.kind, link=link, unit=task.unit, scale=task.scale)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledSpan:
    """What came of labelling a span.

    Attributes:
        record: the published set, which may be an earlier attempt's.
        examples_per_surface: surface → fresh examples that this attempt read.
        statistics: of its labels, see `label_statistics`.
        anomalies: what is doubtful about them, lines by kind.
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
        store_uri: see `open_store`.
        key: what the set will be a set of.
        tasks: what the teacher labels, by name.
        feature_version: the teacher's.
        label_age_spans: how many spans the teacher is behind the span.
        ready_ms: when the examples were complete, Unix milliseconds; the labels' lag counts from it.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
        checks: what makes labels doubtful, and whether they are published all the same.
        previous: statistics of the last set published, or None.
        supersede: publish a new revision although there is a set.

    Raises:
        UnfitLabels: if a label is no number, out of range or an anomaly that stops; nothing is published.
        BadInput: if the teacher lacks a task, or an example comes twice.
    """
    started = time.monotonic()
    columns = {name: soft_column(task) for name, task in tasks.items()}
    samples = f"{scratch.rstrip('/')}/labels-{uuid.uuid4().hex}"
    store = open_store(store_uri)
    writer = store.stage(key, columns)
    files = [file for split in FRESH_SPLITS for file in split_files(examples_uri, split)]

    def build(pipeline: Any) -> Any:
        labelled = pipeline | "Label" >> LabelShards(files, model_uri, writer, tuple(columns), samples)
        return labelled | "Describe" >> beam.Map(dataclasses.asdict)

    staged = [StagedShard(**fields) for fields in run_and_collect(build, beam_options, scratch)]
    missing = {shard_label(file) for file in files} - {shard.name for shard in staged}
    if missing:
        raise RuntimeError(f"the runner lost shards: {', '.join(sorted(missing))}; nothing was published.")
    sample = _read_samples(samples)
    refuse_faults(writer.set_id, staged)
    statistics = label_statistics(sample, tasks)
    anomalies = find_label_anomalies(statistics, previous, tasks, checks)
    _refuse_anomalies(writer.set_id, anomalies, checks)
    labelled = time.time()
    facts = SetFacts(
        feature_version=feature_version,
        label_age_spans=label_age_spans,
        seconds=time.monotonic() - started,
        extra={
            "lag_seconds": round(labelled - ready_ms / 1000, 3),
            "event_ms": float(pc.max(sample[EVENT_TIME_MS]).as_py() or 0),
            "ready_ms": float(ready_ms),
            "labelled_ms": float(int(labelled * 1000)),
        },
    )
    record = store.publish(writer, staged, facts, supersede=supersede)
    return LabelledSpan(
        record=record,
        examples_per_surface=_count_surfaces(staged),
        statistics=statistics,
        anomalies=anomalies,
    )


@dataclasses.dataclass
class LabelShards(beam.PTransform):
    """Scores shards of examples and stages their labels; yields one `StagedShard` a file.

    A shard is the unit of work, never an example, and everything is emitted from `process`, since a runner
    may drop what `finish_bundle` emits.

    Attributes:
        files: shards of tf.Examples.
        model_uri: the teacher's Model artifact.
        writer: the attempt the labels belong to.
        tasks: the teacher's outputs to keep.
        samples: a folder for some rows of each shard, from which the labels are judged.
    """

    files: Sequence[str]
    model_uri: str
    writer: ShardWriter
    tasks: tuple[str, ...]
    samples: str

    def expand(self, pipeline: Any) -> Any:
        """Adds the work to a pipeline."""
        return (
            pipeline
            | "Files" >> beam.Create(list(self.files))
            | "Spread" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(_ScoreShard(self.model_uri, self.tasks, self.samples, len(self.files)))
            | "Stage" >> beam.MapTuple(self.writer.write)
        )


class _ScoreShard(beam.DoFn):
    """Scores one shard; the model is loaded once for all threads of a worker process."""

    def __init__(self, model_uri: str, tasks: tuple[str, ...], samples: str, num_files: int) -> None:
        self._model_uri = model_uri
        self._tasks = tasks
        self._samples = samples
        self._sampled_rows = -(-_JUDGED_ROWS // num_files)
        self._shared = Shared()

    def process(self, file: str) -> Iterator[tuple[str, pa.Table]]:
        """Yields the shard's labels under the name they are staged by."""
        scorer = self._shared.acquire(lambda: load_scorer(self._model_uri), tag=self._model_uri)
        name, rows = shard_label(file), score_shard(scorer, file, self._tasks)
        # In an order that has nothing to do with time or surface, and is the same at every attempt.
        order = np.argsort(hash_ids(rows[EXAMPLE_ID]), kind="stable")[: self._sampled_rows]
        _write_sample(f"{self._samples}/{name}.parquet", rows.take(pa.array(order)))
        yield name, label_table(rows, self._tasks)


def score_shard(scorer: Scorer, file: str, tasks: Sequence[str]) -> pa.Table:
    """A shard's examples with the teacher's answers beside their hard labels.

    Args:
        scorer: the teacher.
        file: a shard of tf.Examples.
        tasks: the teacher's outputs to keep.

    Returns:
        id, time, surface, `label_<task>` and `soft_<task>` float32; a row an example, in the shard's order.

    Raises:
        BadInput: if the teacher has no such task, or the shard cannot be read.
    """
    unknown = sorted(set(tasks) - set(scorer.tasks))
    if unknown:
        raise BadInput(
            f"the teacher has no task {unknown[0]}",
            where=file,
            expected=f"one of {', '.join(scorer.tasks)}",
            got=unknown[0],
            fix="Train the teacher on it, or do not distil it.",
        )
    carried = _CARRIED | {LABEL_PREFIX + task: pa.float32() for task in tasks}
    soft = {SOFT_PREFIX + task: pa.float32() for task in tasks}
    batches = list(scorer.score_files([file], carried, batch_size=_SCORING_ROWS))
    schema = pa.schema([*carried.items(), *soft.items()])
    if not batches:
        return schema.empty_table()
    scored = pa.Table.from_batches(batches)
    return pa.table([*(scored[name] for name in carried), *(scored[task] for task in tasks)], schema=schema)


def label_table(scored: pa.Table, tasks: Sequence[str]) -> pa.Table:
    """The label rows of a scored shard: `row_schema(tasks)`; the date is that of UTC."""
    if not scored.num_rows:
        return row_schema(tasks).empty_table()
    moments = scored[EVENT_TIME_MS].cast(pa.timestamp("ms"))
    dates = pc.floor_temporal(moments, unit="day").cast(pa.date32())
    columns = {EXAMPLE_ID: scored[EXAMPLE_ID], EVENT_DATE: dates, SURFACE: scored[SURFACE]}
    soft = [scored[SOFT_PREFIX + task] for task in tasks]
    return pa.table([*columns.values(), *soft], schema=row_schema(tasks))


def shard_label(file: str) -> str:
    """The name a file's labels are staged under: split and shard, the same at every attempt."""
    path = PurePosixPath(file)
    return f"{path.parent.name.removeprefix('Split-')}-{path.name.removesuffix('.gz')}"


def _write_sample(path: str, rows: pa.Table) -> None:
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    # Two attempts at the same shard, at once or after a kill, must not write into one another's file.
    partial = f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(_serialized(rows))
    tf.io.gfile.rename(partial, path, overwrite=True)


def _serialized(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    return bytes(sink.getvalue().to_pybytes())


def _read_samples(folder: str) -> pa.Table:
    tables = []
    for path in sorted(tf.io.gfile.glob(f"{folder}/*.parquet")):
        with tf.io.gfile.GFile(path, "rb") as file:
            tables.append(pq.read_table(pa.BufferReader(file.read())))
    tf.io.gfile.rmtree(folder)
    return pa.concat_tables(tables)


def _refuse_anomalies(set_id: str, anomalies: Mapping[str, list[str]], checks: LabelChecks) -> None:
    for kind, severity in (("drift", checks.on_drift), ("skew", checks.on_skew)):
        lines = anomalies[kind]
        for line in lines:
            _LOG.warning("label set %s: %s: %s", set_id, kind, line)
        if lines and severity == "stop":
            raise UnfitLabels(
                f"{len(lines)} anomalies of kind {kind}",
                where=f"labels of span {key_of(set_id).span}",
                expected="labels like the last set's and like the hard labels",
                got=lines[0],
                fix=f"Look at the teacher; label_checks.on_{kind}: warn publishes all the same.",
            )


def _count_surfaces(shards: Sequence[StagedShard]) -> dict[str, int]:
    counts: dict[str, int] = {}
    # A bundle that was retried may be told of twice.
    for shard in {shard.name: shard for shard in shards}.values():
        for surface, rows in shard.rows_per_surface.items():
            counts[surface] = counts.get(surface, 0) + rows
    return dict(sorted(counts.items()))
