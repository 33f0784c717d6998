"""From shards of tf.Examples to tensors, span by span, in an order that a seed decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from eventlog.errors import BadInput
from eventlog.rows import LABEL_PREFIX, SOFT_PREFIX
from models.job import TrainingJob
from models.objective import Targets
from models.records import LEAN, read_records, records_in_turn
from models.seeds import path_seed
from models.transform_graph import TransformGraph

Tensor = Any

_SHARD_NAME = re.compile(r"span-(\d+)-\d+-of-\d+\.gz$")
_SHUFFLE_BUFFER = 65_536
"""Examples held for shuffling, about half a kilobyte each."""
_FILES_AT_ONCE = 4
_COUNTED_ROWS = 8192
_BLOCK_ROWS = 8192
"""About as many examples are parsed at once, a few megabytes."""


def spans_of(patterns: Iterable[str]) -> dict[int, list[str]]:
    """The shards of each span, both in rising order.

    Args:
        patterns: files or glob patterns, of one split or several.

    Raises:
        BadInput: if there is no file, or one whose name does not tell its span.
    """
    patterns = list(patterns)
    files = sorted({file for pattern in patterns for file in tf.io.gfile.glob(pattern)})
    spans: dict[int, list[str]] = {}
    for file in files:
        match = _SHARD_NAME.search(file)
        if match is None:
            raise _unreadable(file, "a name like span-00003-00000-of-00004.gz", "another name")
        spans.setdefault(int(match.group(1)), []).append(file)
    if not spans:
        raise _unreadable(", ".join(patterns), "at least one shard", "none")
    return dict(sorted(spans.items()))


def read_mixed(files: Sequence[str]) -> Tensor:
    """A dataset of serialized tf.Examples, of several files by turns, in the same order each time."""
    groups = [files[first::_FILES_AT_ONCE] for first in range(min(_FILES_AT_ONCE, len(files)))]
    return tf.data.Dataset.choose_from_datasets(
        [records_in_turn(group) for group in groups],
        tf.data.Dataset.range(len(groups)).repeat(),
        stop_on_empty_dataset=False,
    )


class ExampleReader:
    """Parses and transforms a job's examples, block by block.

    A block holds many batches: parsing and the transform graph take ten times as long a row at the size of a
    batch. They run outside of tf.data, which would prepare their graph anew for every pass, at the cost of
    training on a small span.

    Args:
        job: names features, tasks and soft labels; nothing else is parsed.
        graph: the frozen transform graph.
    """

    def __init__(self, job: TrainingJob, graph: TransformGraph) -> None:
        self._job = job
        self._graph = graph
        missing = tf.io.FixedLenFeature([], tf.float32, default_value=float("nan"))
        soft_labels = [SOFT_PREFIX + name for name in job.distilled_tasks]
        self._hard_spec = {LABEL_PREFIX + name: missing for name in job.tasks}
        self._spec = {**graph.raw_spec, **self._hard_spec, **dict.fromkeys(soft_labels, missing)}
        self._parse = tf.function(self._parsed, autograph=False).get_concrete_function(
            tf.TensorSpec([None], tf.string)
        )
        self._block_rows = max(1, _BLOCK_ROWS // job.batch_size) * job.batch_size

    @property
    def block_spec(self) -> tuple[dict[str, tf.TensorSpec], Targets]:
        """What a block is made of: types and shapes, the number of rows left open."""
        spec: tuple[dict[str, tf.TensorSpec], Targets] = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), self._parse.structured_outputs
        )
        return spec

    def blocks(
        self, files: Sequence[str], *, span: int, reading_pass: int
    ) -> Iterator[tuple[dict[str, Tensor], Targets]]:
        """Yields (features, `Targets`) of many batches at once, shuffled by (seed, span, pass)."""
        order = path_seed(self._job.seed, f"order/{span}/{reading_pass}")
        shuffled = (
            read_mixed(files)
            .shuffle(_SHUFFLE_BUFFER, seed=order)
            .batch(self._block_rows)
            .prefetch(1)
            .with_options(LEAN)
        )
        for serialized in shuffled:
            yield self._parse(serialized)

    def label_totals(self, files: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The sums of the hard labels on their tasks' scales, and how many there are, `[tasks]` float32."""
        start = (tf.zeros([len(self._job.tasks)]), tf.zeros([len(self._job.tasks)]))
        labels = read_records(files, _COUNTED_ROWS).map(self._labels)
        sums, counts = labels.reduce(start, _add_labels)
        return sums, counts

    def _labels(self, serialized: Tensor) -> tuple[Tensor, Tensor]:
        return self._hard(tf.io.parse_example(serialized, self._hard_spec))

    def _parsed(self, serialized: Tensor) -> tuple[dict[str, Tensor], Targets]:
        raw = tf.io.parse_example(serialized, self._spec)
        hard, hard_where = self._hard({name: raw.pop(name) for name in self._hard_spec})
        soft_labels = [raw.pop(SOFT_PREFIX + name) for name in self._job.distilled_tasks]
        soft = tf.stack(soft_labels, axis=1) if soft_labels else tf.zeros([tf.shape(serialized)[0], 0])
        return self._graph(raw), Targets(hard, hard_where, soft, ~tf.math.is_nan(soft))

    def _hard(self, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`[batch, tasks]` labels on their tasks' scales, and where there is one."""
        tasks = self._job.tasks.items()
        hard = tf.stack([_on_scale(labels[LABEL_PREFIX + name], task.scale) for name, task in tasks], axis=1)
        # Asked of what was logged: a label without a logarithm is an error to be seen, not a missing one.
        logged = tf.stack([labels[LABEL_PREFIX + name] for name in self._job.tasks], axis=1)
        return hard, ~tf.math.is_nan(logged)


def _add_labels(totals: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    hard, where = labels
    present = tf.cast(where, tf.float32)
    sums = tf.reduce_sum(tf.where(where, hard, 0.0), axis=0)
    return totals[0] + sums, totals[1] + tf.reduce_sum(present, axis=0)


def _on_scale(labels: Tensor, scale: str) -> Tensor:
    """Hard labels come in the task's unit, soft labels on its scale already."""
    return tf.math.log1p(labels) if scale == "log1p" else labels


def _unreadable(where: str, expected: str, got: str) -> BadInput:
    return BadInput(
        "no examples to read",
        where=where,
        expected=expected,
        got=got,
        fix="Give the train split of an Examples artifact that SpanExampleGen or SoftLabelTransform wrote.",
    )
