"""Input of the labelling benchmark: Examples with 11 features, and a SavedModel with 4 tasks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

from components.transforms.shards import split_folder, write_shard
from eventlog.rows import CLUSTER_ID, EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, SURFACE
from models.shard_names import shard_name

Tensor = Any

IDS = ("user_id", "video_id", "author_id", "upload_type", "user_active_degree")
BAG = "tag"
NUMBERS = ("duration_seconds", "video_age_days", "follow_user_num", "fans_user_num", "register_days")
TASKS = ("click", "long_view", "like", "profile_enter")
SURFACES = ("home", "feed", "search")

SPAN = 3
ROWS_PER_SHARD = 10_000
_FIRST_MILLISECOND = 1_650_000_000_000
_NUM_DISTINCT = {
    "user_id": 20_000,
    "video_id": 50_000,
    "author_id": 5_000,
    "upload_type": 12,
    "user_active_degree": 5,
}
_NUM_TAGS = 60
_NUM_BUCKETS = 20_000
_EMBEDDING_SIZE = 16
_TRUNK_WIDTHS = (512, 256)


def write_examples(uri: str, num_examples: int, seed: int) -> list[str]:
    """Writes random Examples into the `train` split and an empty `holdout` split; returns the train paths."""
    generator = np.random.default_rng(seed)
    num_shards = -(-num_examples // ROWS_PER_SHARD)
    paths = []
    for shard in range(num_shards):
        rows = min(ROWS_PER_SHARD, num_examples - shard * ROWS_PER_SHARD)
        path = f"{split_folder(uri, 'train')}/{shard_name(SPAN, shard, num_shards)}"
        write_shard(path, _rows(generator, rows, first=shard * ROWS_PER_SHARD))
        paths.append(path)
    write_shard(f"{split_folder(uri, 'holdout')}/{shard_name(SPAN, 0, 1)}", _rows(generator, 0, first=0))
    return paths


def _rows(generator: np.random.Generator, rows: int, first: int) -> pa.RecordBatch:
    """Random rows; `first` is the number of the first row, for its id and its event time."""
    ids = {name: _numbered_texts(name, generator.integers(0, _NUM_DISTINCT[name], rows)) for name in IDS}
    lengths = generator.integers(1, 4, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    tags = pa.ListArray.from_arrays(
        offsets, _numbered_texts(BAG, generator.integers(0, _NUM_TAGS, offsets[-1]))
    )
    numbers = {name: pa.array(generator.exponential(30, rows), pa.float32()) for name in NUMBERS}
    fixed = {
        EXAMPLE_ID: _numbered_texts("example", np.arange(first, first + rows)),
        EVENT_TIME_MS: pa.array(_FIRST_MILLISECOND + np.arange(first, first + rows), pa.int64()),
        IMPRESSION_SPAN: pa.array(np.full(rows, SPAN), pa.int64()),
        SURFACE: pa.array(np.array(SURFACES)[generator.integers(0, len(SURFACES), rows)], pa.string()),
        CLUSTER_ID: ids["user_id"],
    }
    return pa.RecordBatch.from_pydict(fixed | ids | {BAG: tags} | numbers)


def _numbered_texts(name: str, numbers: npt.NDArray) -> pa.Array:
    return pa.array(np.char.add(f"{name}_", numbers.astype(str)), pa.string())


class WideTeacher(tf.Module):
    """A model with hashed embeddings, a trunk of widths 512 and 256, and a logit per task; random weights."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = tf.random.Generator.from_seed(seed)
        self._embeddings = {
            name: tf.Variable(generator.normal([_NUM_BUCKETS, _EMBEDDING_SIZE], stddev=0.05))
            for name in (*IDS, BAG)
        }
        widths = (len(self._embeddings) * _EMBEDDING_SIZE + len(NUMBERS), *_TRUNK_WIDTHS, len(TASKS))
        self._kernels = [
            tf.Variable(generator.normal([inner, outer], stddev=(2 / inner) ** 0.5))
            for inner, outer in itertools.pairwise(widths)
        ]
        self._biases = [tf.Variable(tf.zeros([width])) for width in widths[1:]]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: Tensor) -> dict[str, Tensor]:
        """Maps serialized tf.Examples, `[batch]` string, to probabilities by task, `[batch]` float32."""
        parsed = tf.io.parse_example(examples, _feature_spec())
        hidden = tf.concat([self._embed(parsed), self._numbers(parsed)], axis=1)
        for kernel, bias in zip(self._kernels[:-1], self._biases[:-1], strict=True):
            hidden = tf.nn.relu(tf.matmul(hidden, kernel) + bias)
        probabilities = tf.sigmoid(tf.matmul(hidden, self._kernels[-1]) + self._biases[-1])
        return {task: probabilities[:, index] for index, task in enumerate(TASKS)}

    def _embed(self, parsed: dict[str, Tensor]) -> Tensor:
        single = [
            tf.gather(self._embeddings[name], tf.strings.to_hash_bucket_fast(parsed[name], _NUM_BUCKETS))
            for name in IDS
        ]
        tags = parsed[BAG].with_values(tf.strings.to_hash_bucket_fast(parsed[BAG].values, _NUM_BUCKETS))
        bag = tf.nn.safe_embedding_lookup_sparse(self._embeddings[BAG], tags, combiner="mean")
        return tf.concat([*single, bag], axis=1)

    def _numbers(self, parsed: dict[str, Tensor]) -> Tensor:
        return tf.stack([tf.math.log1p(parsed[name]) / 5 for name in NUMBERS], axis=1)


def _feature_spec() -> dict[str, Any]:
    strings = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in IDS}
    numbers = {name: tf.io.FixedLenFeature([], tf.float32, default_value=0.0) for name in NUMBERS}
    return {**strings, **numbers, BAG: tf.io.VarLenFeature(tf.string)}


def write_model(uri: str, seed: int) -> str:
    """Writes the teacher to the URI of a Model artifact; returns the folder of its SavedModel."""
    folder = f"{uri}/Format-Serving"
    teacher = WideTeacher(seed)
    tf.saved_model.save(teacher, folder, signatures={"serving_default": teacher.serve})
    return folder
