"""Joins a surface's examples with soft labels by example id."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.label_store.fingerprints import duplicated_ids, hash_ids
from components.transforms.collecting import run_and_collect
from components.transforms.join_report import JoinReport, write_report
from components.transforms.label_rows import ReadLabels
from components.transforms.serialized import EXAMPLE, SERIALIZED, append_feature, read_serialized
from components.transforms.shards import FRESH_SPLITS, SPLITS, split_files, split_folder, write_records
from eventlog.errors import BadInput
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, SOFT_PREFIX, SURFACE
from models.shard_names import shard_name


@dataclasses.dataclass
class JoinSoftLabels(beam.PTransform):
    """Joins the examples of a surface, in all splits, with label sets; yields row counts.

    A hash of the example id assigns examples and labels to buckets. Beam elements are Arrow batches, never
    rows. Bucket n of N becomes shard n of N of each split. Rows are sorted by time and id, so equal input
    gives equal bytes.

    Each example of the surface is written exactly once, with or without soft labels. An example gets the
    soft labels of the tasks whose hard labels it can have. So the soft label of an impression and task is
    used once, in the fresh or in the matured row. Label rows without an example are only counted.

    Attributes:
        examples_uri: Examples artifact with all splits, of all surfaces.
        output_uri: root of the Examples artifact to write.
        span: span of the examples.
        surface: the surface to join.
        was: earlier name of the surface, whose rows and labels are joined too; None if it had none.
        store_uri: URI of the label store, see `open_store`.
        set_ids: ids of the label sets of the span and of the earlier spans whose impressions mature in it.
        delays: task of the teacher → number of spans after which the log brings its hard label, see `Task`.
        num_buckets: number of shards in each split.

    Yields (as a PCollection): dicts of counts, for `add_up_counts`. Each bucket yields the counts of
        `JoinReport`, `buckets` and `labels_received`. Each shard yields `examples_read`. Each batch of labels
        yields `labels_read`.
    """

    examples_uri: str
    output_uri: str
    span: int
    surface: str
    store_uri: str
    set_ids: Sequence[str]
    delays: Mapping[str, int]
    num_buckets: int = 4
    was: str | None = None

    @property
    def surfaces(self) -> list[str]:
        """The surface, and its earlier name if there is one."""
        return [self.surface, *([self.was] if self.was is not None else [])]

    def expand(self, pipeline: Any) -> Any:
        """Adds the transform to a pipeline."""
        files = [(split, file) for split in SPLITS for file in split_files(self.examples_uri, split)]
        examples = (
            pipeline
            | "Shards" >> beam.Create(files)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadExamples" >> beam.FlatMapTuple(self._read_examples).with_outputs("counts", main="rows")
        )
        columns = [EXAMPLE_ID, *(SOFT_PREFIX + task for task in self.delays)]
        labels = (
            pipeline
            | ReadLabels(self.store_uri, self.set_ids, columns, self.surfaces)
            | "CutLabels" >> beam.FlatMapTuple(self._cut_labels).with_outputs("counts", main="rows")
        )
        # A bucket without rows must also become a file, so that every split has all shards.
        buckets = pipeline | "Buckets" >> beam.Create([(number, None) for number in range(self.num_buckets)])
        joined = (
            {"examples": examples.rows, "labels": labels.rows, "bucket": buckets}
            | "Meet" >> beam.CoGroupByKey()
            | "Join" >> beam.MapTuple(self._join_bucket)
        )
        return (joined, examples.counts, labels.counts) | "Counts" >> beam.Flatten()

    def _read_examples(self, split: str, file: str) -> Iterator[Any]:
        num_rows = 0
        for batch in read_serialized(file):
            table = pa.Table.from_batches([batch]).filter(pc.is_in(batch[SURFACE], pa.array(self.surfaces)))
            num_rows += table.num_rows
            for bucket, rows in cut_buckets(table, self.num_buckets):
                yield bucket, (split, rows)
        yield beam.pvalue.TaggedOutput("counts", {"examples_read": num_rows})

    def _cut_labels(self, set_id: str, batch: pa.RecordBatch) -> Iterator[Any]:
        for bucket, rows in cut_buckets(pa.Table.from_batches([batch]), self.num_buckets):
            yield bucket, (set_id, rows)
        yield beam.pvalue.TaggedOutput("counts", {"labels_read": batch.num_rows})

    def _join_bucket(self, bucket: int, sides: Mapping[str, Any]) -> dict[str, int]:
        examples = {split: [SERIALIZED.empty_table()] for split in SPLITS}
        for split, batch in sides["examples"]:
            examples[split].append(pa.Table.from_batches([batch]))
        tables = {split: pa.concat_tables(parts) for split, parts in examples.items()}
        refuse_repeated_examples(tables, self.examples_uri)
        labels = gather_labels(sides["labels"], tuple(self.delays))
        counts = {"buckets": 1, "labels_received": labels.num_rows, "labels_without_example": labels.num_rows}
        for split, table in tables.items():
            fresh = split in FRESH_SPLITS
            delays = {task: delay for task, delay in self.delays.items() if (delay == 0) == fresh}
            joined, num_with_label_row, num_labelled = join_rows(table, labels, delays, self.span)
            kind = "fresh_rows" if fresh else "matured_rows"
            counts[kind] = counts.get(kind, 0) + table.num_rows
            counts[f"labelled_{kind}"] = counts.get(f"labelled_{kind}", 0) + num_labelled
            counts["labels_without_example"] -= num_with_label_row
            name = shard_name(self.span, bucket, self.num_buckets)
            write_records(f"{split_folder(self.output_uri, split)}/{name}", joined.to_pylist())
        return counts


def join_span(join: JoinSoftLabels, beam_options: Sequence[str], scratch: str) -> JoinReport:
    """Runs a join, writes its report to `join_report.json` beside the splits, and returns the report.

    Args:
        join: the join.
        beam_options: Beam's command line options.
        scratch: a folder that driver and workers share.

    Raises:
        BadInput: if an example id appears twice in the examples or in the labels, or a label set cannot be
            read.
        RuntimeError: if the Beam runner lost or repeated rows.
    """
    # Beam binds a transform to one pipeline, so run a copy.
    copy = dataclasses.replace(join)
    counts = run_and_collect(lambda pipeline: pipeline | "Join" >> copy, beam_options, scratch)
    report = add_up_counts(join.surface, join.num_buckets, counts)
    write_report(report, join.output_uri, join.set_ids)
    return report


def add_up_counts(surface: str, num_buckets: int, counts: Sequence[Mapping[str, int]]) -> JoinReport:
    """Adds up the workers' counts to a report; checks that the Beam runner has not lost or repeated rows.

    Args:
        surface: the joined surface.
        num_buckets: expected number of buckets.
        counts: the dicts from `JoinSoftLabels`.

    Raises:
        RuntimeError: if examples, labels or buckets were lost or repeated between reading and writing. Beam
            2.74 lost rows in 5 of 8 local runs with `--direct_running_mode=multi_threading`.
    """
    totals: dict[str, int] = collections.Counter()
    for partial_counts in counts:
        for name, number in partial_counts.items():
            totals[name] += number
    written = totals["fresh_rows"] + totals["matured_rows"]
    expected_and_got = {
        "buckets": (num_buckets, totals["buckets"]),
        "examples": (totals["examples_read"], written),
        "labels": (totals["labels_read"], totals["labels_received"]),
    }
    for name, (expected, got) in expected_and_got.items():
        if expected != got:
            raise RuntimeError(
                f"surface {surface}: expected {expected} {name} in the join, got {got}. "
                "The Beam runner has lost or repeated work; run the span again."
            )
    names = [field.name for field in dataclasses.fields(JoinReport) if field.type == "int"]
    return JoinReport(surface=surface, **{name: totals[name] for name in names})  # type: ignore[arg-type]


def gather_labels(scanned: Sequence[tuple[str, pa.RecordBatch]], tasks: Sequence[str]) -> pa.Table:
    """Returns the labels of one bucket as a table of `example_id` and `soft_<task>`.

    Args:
        scanned: pairs (set id, batch of the set's label rows).
        tasks: the teacher's tasks.

    Raises:
        BadInput: if an example id has several label rows, because only one of them can be distilled.
    """
    soft = [pa.field(SOFT_PREFIX + task, pa.float32()) for task in tasks]
    schema = pa.schema([pa.field(EXAMPLE_ID, pa.string()), *soft])
    tables = [pa.Table.from_batches([batch]).cast(schema) for _, batch in scanned]
    labels = pa.concat_tables([schema.empty_table(), *tables])
    repeated = duplicated_ids(labels[EXAMPLE_ID])
    if repeated:
        value_set = pa.array(repeated, pa.string())
        sets = {
            set_id for set_id, batch in scanned if pc.any(pc.is_in(batch[0], value_set=value_set)).as_py()
        }
        raise BadInput(
            "example ids with several labels",
            where=f"label set {', '.join(sorted(sets))}",
            expected="one label row for each example_id",
            got=", ".join(repeated),
            fix="Join each label set only once, and at most one set for each span.",
        )
    return labels


def join_rows(
    examples: pa.Table, labels: pa.Table, delays: Mapping[str, int], span: int
) -> tuple[pa.Array, int, int]:
    """Adds soft labels to serialized examples, and sorts the examples by time and id.

    Args:
        examples: rows of one split as `SERIALIZED`, with distinct ids.
        labels: columns `example_id` and `soft_<task>`, with distinct ids.
        delays: the tasks to add: task → its delay. A row gets the soft label of a task if its
            `impression_span` is `span` minus the delay.
        span: span of the examples.

    Returns:
        `[rows]` serialized tf.Examples; the number of examples with a label row; the number of examples with
        a soft label of at least one added task (without added tasks: with a label row).
    """
    order = pc.sort_indices(examples, [(EVENT_TIME_MS, "ascending"), (EXAMPLE_ID, "ascending")])
    examples = examples.take(order)
    label_ids = pd.Index(labels[EXAMPLE_ID].to_pandas(), dtype=object)
    positions = label_ids.get_indexer(pd.Index(examples[EXAMPLE_ID].to_pandas(), dtype=object))
    has_label_row = positions >= 0
    label_rows = pa.array(positions, pa.int64(), mask=~has_label_row)
    labelled = np.zeros(len(positions), bool)
    joined = _combine_chunks(examples[EXAMPLE])
    for task, delay in delays.items():
        column = labels[SOFT_PREFIX + task].combine_chunks().take(label_rows)
        can_have_label = pc.equal(examples[IMPRESSION_SPAN], span - delay).combine_chunks()
        column = pc.if_else(can_have_label, column, pa.scalar(None, pa.float32()))
        labelled |= column.is_valid().to_numpy(zero_copy_only=False)
        joined = append_feature(joined, SOFT_PREFIX + task, _combine_chunks(column))
    return joined, int(has_label_row.sum()), int((labelled if delays else has_label_row).sum())


def cut_buckets(table: pa.Table, num_buckets: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields number and rows of each non-empty bucket; the hash of an example id determines its bucket."""
    if not table.num_rows:
        return
    buckets = hash_ids(table[EXAMPLE_ID]) % np.uint64(num_buckets)
    table = table.take(pa.array(np.argsort(buckets, kind="stable")))
    ends = np.cumsum(np.bincount(buckets.astype(np.int64), minlength=num_buckets))
    for bucket, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > first:
            arrays = [_combine_chunks(column) for column in table.slice(first, end - first).columns]
            yield bucket, pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def _combine_chunks(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    # In pyarrow 10, combine_chunks returns an array only for two or more chunks.
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def refuse_repeated_examples(tables: Mapping[str, pa.Table], where: str) -> None:
    """Checks that each example id appears only once in a span.

    Args:
        tables: split → rows with `example_id`.
        where: source of the rows, for the error message.

    Raises:
        BadInput: if an id appears twice.
    """
    ids = pa.chunked_array([chunk for table in tables.values() for chunk in table[EXAMPLE_ID].chunks])
    repeated = duplicated_ids(ids)
    if repeated:
        raise BadInput(
            "example ids that appear twice",
            where=where,
            expected="each example_id once in a span",
            got=", ".join(repeated),
            fix="Remove the duplicates from the event log.",
        )
