"""Soft labels of one span: score each shard of its examples, stage the labels, publish them together."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.utils.shared import Shared

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
from components.label_store.schemes import open_store
from components.transforms.collecting import run_and_collect
from components.transforms.label_rows import StageLabels
from components.transforms.shards import FRESH_SPLITS, split_files
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, SURFACE
from models.scoring import Scorer, load_scorer
from models.tasks import Task

_CARRIED = {EXAMPLE_ID: pa.string(), EVENT_TIME_MS: pa.int64(), SURFACE: pa.string()}
_SCORING_ROWS = 4096


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
    """

    record: LabelSetRecord
    examples_per_surface: dict[str, int]


def label_span(
    *,
    examples_uri: str,
    model_uri: str,
    store_uri: str,
    key: LabelSetKey,
    columns: Mapping[str, SoftColumn],
    feature_version: str,
    label_age_spans: int,
    ready_ms: int,
    beam_options: Sequence[str],
    scratch: str,
    supersede: bool = False,
) -> LabelledSpan:
    """Labels a span's fresh examples with a teacher and publishes the label set.

    Args:
        examples_uri: Examples artifact; its splits `train` and `holdout` are labelled.
        model_uri: the teacher's Model artifact.
        store_uri: see `open_store`.
        key: what the set will be a set of.
        columns: distilled task → meaning of its column.
        feature_version: the teacher's.
        label_age_spans: how many spans the teacher is behind the span.
        ready_ms: when the examples were complete, Unix milliseconds; the labels' lag counts from it.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.
        supersede: publish a new revision although there is a set.

    Raises:
        BadInput: if the teacher lacks a task, or its labels must not be published.
    """
    started = time.monotonic()
    store = open_store(store_uri)
    writer = store.stage(key, columns)
    files = [file for split in FRESH_SPLITS for file in split_files(examples_uri, split)]

    def build(pipeline: Any) -> Any:
        labelled = pipeline | "Label" >> LabelShards(files, model_uri, writer, tuple(columns))
        return labelled | "Describe" >> beam.Map(dataclasses.asdict)

    staged = [StagedShard(**fields) for fields in run_and_collect(build, beam_options, scratch)]
    missing = {shard_label(file) for file in files} - {shard.name for shard in staged}
    if missing:
        raise RuntimeError(f"the runner lost shards: {', '.join(sorted(missing))}; nothing was published.")
    facts = SetFacts(
        feature_version=feature_version,
        label_age_spans=label_age_spans,
        seconds=time.monotonic() - started,
        extra={"lag_seconds": round(time.time() - ready_ms / 1000, 3)},
    )
    record = store.publish(writer, staged, facts, supersede=supersede)
    return LabelledSpan(record=record, examples_per_surface=_count_surfaces(staged))


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
    """

    files: Sequence[str]
    model_uri: str
    writer: ShardWriter
    tasks: tuple[str, ...]

    def expand(self, pipeline: Any) -> Any:
        """Adds the work to a pipeline."""
        return (
            pipeline
            | "Files" >> beam.Create(list(self.files))
            | "Spread" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(_ScoreShard(self.model_uri, self.tasks))
            | StageLabels(self.writer)
        )


class _ScoreShard(beam.DoFn):
    """Scores one shard; the model is loaded once for all threads of a worker process."""

    def __init__(self, model_uri: str, tasks: tuple[str, ...]) -> None:
        self._model_uri = model_uri
        self._tasks = tasks
        self._shared = Shared()

    def process(self, file: str) -> Iterator[tuple[str, pa.Table]]:
        """Yields the shard's labels under the name they are staged by."""
        scorer = self._shared.acquire(lambda: load_scorer(self._model_uri), tag=self._model_uri)
        yield shard_label(file), label_table(scorer, file, self._tasks)


def label_table(scorer: Scorer, file: str, tasks: Sequence[str]) -> pa.Table:
    """The labels of one shard of examples.

    Args:
        scorer: the teacher.
        file: a shard of tf.Examples.
        tasks: the teacher's outputs to keep.

    Returns:
        `row_schema(tasks)`, one row an example, in the shard's order; the date is that of UTC.

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
    batches = list(scorer.score_files([file], _CARRIED, batch_size=_SCORING_ROWS))
    schema = row_schema(tasks)
    if not batches:
        return schema.empty_table()
    scored = pa.Table.from_batches(batches)
    moments = scored[EVENT_TIME_MS].cast(pa.timestamp("ms"))
    dates = pc.floor_temporal(moments, unit="day").cast(pa.date32())
    columns = {EXAMPLE_ID: scored[EXAMPLE_ID], EVENT_DATE: dates, SURFACE: scored[SURFACE]}
    return pa.table([*columns.values(), *(scored[task] for task in tasks)], schema=schema)


def shard_label(file: str) -> str:
    """The name a file's labels are staged under: split and shard, the same at every attempt."""
    path = PurePosixPath(file)
    return f"{path.parent.name.removeprefix('Split-')}-{path.name.removesuffix('.gz')}"


def _count_surfaces(shards: Sequence[StagedShard]) -> dict[str, int]:
    counts: dict[str, int] = {}
    # A bundle that was retried may be told of twice.
    for shard in {shard.name: shard for shard in shards}.values():
        for surface, rows in shard.rows_per_surface.items():
            counts[surface] = counts.get(surface, 0) + rows
    return dict(sorted(counts.items()))
