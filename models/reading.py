"""Reads shards of tf.Examples as tensors for training, span by span, in an order that depends on the seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from eventlog.errors import BadInput
from eventlog.rows import LABEL_PREFIX, SOFT_PREFIX
from models.job import TrainingJob
from models.objective import Targets
from models.records import READ_OPTIONS, concatenated_records, read_records
from models.seeds import path_seed
from models.shard_names import parse_shard_name, shard_name
from models.tasks import to_task_scale
from models.transform_graph import TransformGraph

Tensor = Any

_SHUFFLE_BUFFER = 65_536
"""Number of examples in the shuffle buffer; an example takes about half a kilobyte."""
_NUM_INTERLEAVED = 4
"""Number of files from which records are read in turn."""
_LABEL_BATCH_ROWS = 8192
_BLOCK_ROWS = 8192
"""Approximate number of examples parsed together, a few megabytes."""


def shards_by_span(patterns: Iterable[str]) -> dict[int, list[str]]:
    """Sorted paths of the shards by span, spans in ascending order.

    Args:
        patterns: files or glob patterns, of one or several splits.

    Raises:
        BadInput: if there is no file, or a file is not named like a shard.
    """
    patterns = list(patterns)
    files = sorted({file for pattern in patterns for file in tf.io.gfile.glob(pattern)})
    if not files:
        raise _unreadable(", ".join(patterns), "at least one shard", "none")
    spans: dict[int, list[str]] = {}
    for file in files:
        try:
            spans.setdefault(parse_shard_name(file).span, []).append(file)
        except ValueError as error:
            raise _unreadable(file, f"a name like {shard_name(3, 0, 4)}", "another name") from error
    return dict(sorted(spans.items()))


class ExampleReader:
    """Parses and transforms the examples of a job, block by block.

    A block contains many batches, because parsing and transforming single batches takes ten times as long per
    row. Both run outside tf.data, which would prepare their graph again for every pass. On a small span, the
    preparation would take as long as training.

    Args:
        job: defines features, tasks and soft labels; no other column is parsed.
        graph: the frozen transform graph.
    """

    def __init__(self, job: TrainingJob, graph: TransformGraph) -> None:
        self._job = job
        self._graph = graph
        optional = tf.io.FixedLenFeature([], tf.float32, default_value=float("nan"))
        soft_labels = [SOFT_PREFIX + name for name in job.distilled_tasks]
        self._hard_spec = {LABEL_PREFIX + name: optional for name in job.tasks}
        self._spec = {**graph.raw_spec, **self._hard_spec, **dict.fromkeys(soft_labels, optional)}
        self._parse = tf.function(self._parse_block, autograph=False).get_concrete_function(
            tf.TensorSpec([None], tf.string)
        )
        self._block_rows = max(1, _BLOCK_ROWS // job.batch_size) * job.batch_size

    @property
    def block_spec(self) -> tuple[dict[str, tf.TensorSpec], Targets]:
        """Types and shapes of a block; its number of rows is None."""
        spec: tuple[dict[str, tf.TensorSpec], Targets] = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), self._parse.structured_outputs
        )
        return spec

    def blocks(
        self, files: Sequence[str], *, span: int, reading_pass: int
    ) -> Iterator[tuple[dict[str, Tensor], Targets]]:
        """Yields blocks `(features, targets)`; seed, `span` and `reading_pass` determine the row order."""
        shuffle_seed = path_seed(self._job.seed, f"order/{span}/{reading_pass}")
        shuffled = (
            _interleaved_records(files)
            .shuffle(_SHUFFLE_BUFFER, seed=shuffle_seed)
            .batch(self._block_rows)
            .prefetch(1)
            .with_options(READ_OPTIONS)
        )
        for serialized in shuffled:
            yield self._parse(serialized)

    def label_totals(self, files: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Sums and counts of the hard labels on their tasks' scales; each `[tasks]` float32."""
        zeros = tf.zeros([len(self._job.tasks)])
        labels = read_records(files, _LABEL_BATCH_ROWS).map(self._parse_hard_labels)
        sums, counts = labels.reduce((zeros, zeros), _add_labels)
        return sums, counts

    def _parse_hard_labels(self, serialized: Tensor) -> tuple[Tensor, Tensor]:
        return self._scale_hard_labels(tf.io.parse_example(serialized, self._hard_spec))

    def _parse_block(self, serialized: Tensor) -> tuple[dict[str, Tensor], Targets]:
        raw = tf.io.parse_example(serialized, self._spec)
        hard, hard_where = self._scale_hard_labels({name: raw.pop(name) for name in self._hard_spec})
        soft_labels = [raw.pop(SOFT_PREFIX + name) for name in self._job.distilled_tasks]
        soft = tf.stack(soft_labels, axis=1) if soft_labels else tf.zeros([tf.shape(serialized)[0], 0])
        return self._graph(raw), Targets(hard, hard_where, soft, ~tf.math.is_nan(soft))

    def _scale_hard_labels(self, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`[batch, tasks]` hard labels on their tasks' scales, and their mask."""
        unscaled = {name: labels[LABEL_PREFIX + name] for name in self._job.tasks}
        scaled = [
            to_task_scale(unscaled[name], task, tf.math.log1p) for name, task in self._job.tasks.items()
        ]
        # The mask comes from the unscaled label. The log1p of a label below -1 is NaN. Such a label must stop
        # the training with `Diverged`; a mask of the scaled label would silently ignore it.
        return tf.stack(scaled, axis=1), ~tf.math.is_nan(tf.stack(list(unscaled.values()), axis=1))


def _interleaved_records(files: Sequence[str]) -> Tensor:
    """A dataset of the records of several files in turn, always in the same order."""
    groups = [files[first::_NUM_INTERLEAVED] for first in range(min(_NUM_INTERLEAVED, len(files)))]
    return tf.data.Dataset.choose_from_datasets(
        [concatenated_records(group) for group in groups],
        tf.data.Dataset.range(len(groups)).repeat(),
        stop_on_empty_dataset=False,
    )


def _add_labels(totals: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    hard, where = labels
    sums = tf.reduce_sum(tf.where(where, hard, 0.0), axis=0)
    return totals[0] + sums, totals[1] + tf.reduce_sum(tf.cast(where, tf.float32), axis=0)


def _unreadable(where: str, expected: str, got: str) -> BadInput:
    return BadInput(
        "no examples to read",
        where=where,
        expected=expected,
        got=got,
        fix="Give the train split of an Examples artifact that SpanExampleGen or SoftLabelTransform wrote.",
    )
