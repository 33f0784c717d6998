from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf

from components.transforms import shards
from eventlog.errors import BadInput

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("hour", pa.int64()),
        pa.field("label_click", pa.float32()),
        pa.field("tag", pa.list_(pa.string())),
        pa.field("counts", pa.list_(pa.int64())),
    ]
)
ROWS = [
    {"name": "Ünal", "hour": 3, "label_click": 0.5, "tag": ["a", "b"], "counts": [1]},
    {"name": None, "hour": None, "label_click": None, "tag": None, "counts": None},
    {"name": "b", "hour": 0, "label_click": 0.0, "tag": ["c"], "counts": [2, 3]},
]


def batch_of(rows: list[dict], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def test_written_rows_are_read_unchanged(tmp_path: Path) -> None:
    path = str(tmp_path / "Split-train" / "span-00000-00000-of-00001.gz")
    assert shards.write_shard(path, batch_of(ROWS)) == 3
    (read,) = shards.read_shards([path], 10, SCHEMA)
    assert read.schema == SCHEMA
    assert read.to_pylist() == ROWS


def test_a_slice_of_a_batch_writes_only_its_own_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "shard.gz")
    shards.write_shard(path, batch_of(ROWS).slice(2, 1))
    (read,) = shards.read_shards([path], 10, SCHEMA)
    assert read.to_pylist() == ROWS[2:]


def test_batches_have_at_most_batch_rows_rows_in_file_order(tmp_path: Path) -> None:
    path = str(tmp_path / "shard.gz")
    shards.write_shard(path, batch_of(ROWS))
    assert [batch.column(1).to_pylist() for batch in shards.read_shards([path], 2, SCHEMA)] == [
        [3, None],
        [0],
    ]


def test_a_null_and_an_empty_list_are_missing_in_the_example() -> None:
    (record,) = shards.encode_examples(
        batch_of([{"name": None, "hour": 1, "label_click": None, "tag": [], "counts": None}])
    )
    features = tf.train.Example.FromString(record).features.feature
    assert {name for name, feature in features.items() if feature.WhichOneof("kind")} == {"hour"}
    parsed = tf.io.parse_single_example(record, {"label_click": tf.io.VarLenFeature(tf.float32)})
    assert parsed["label_click"].values.shape == (0,)


def test_each_type_becomes_its_list_type_in_the_example() -> None:
    feature = tf.train.Example.FromString(shards.encode_examples(batch_of(ROWS))[0]).features.feature
    assert feature["name"].bytes_list.value == ["Ünal".encode()]
    assert feature["hour"].int64_list.value == [3]
    assert feature["label_click"].float_list.value == [0.5]
    assert feature["tag"].bytes_list.value == [b"a", b"b"]
    assert feature["counts"].int64_list.value == [1]


def test_a_column_without_any_feature_is_all_null(tmp_path: Path) -> None:
    path = str(tmp_path / "shard.gz")
    shards.write_shard(path, batch_of([{"hour": 1}, {"hour": 2}]))
    schema = pa.schema([SCHEMA.field("tag"), SCHEMA.field("label_click"), SCHEMA.field("hour")])
    (read,) = shards.read_shards([path], 10, schema)
    assert read.to_pylist() == [
        {"tag": None, "label_click": None, "hour": 1},
        {"tag": None, "label_click": None, "hour": 2},
    ]


def test_a_shard_without_rows_exists_and_yields_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "shard.gz")
    assert shards.write_shard(path, batch_of([])) == 0
    assert Path(path).exists()
    assert list(shards.read_shards([path], 10, SCHEMA)) == []


def test_writing_leaves_no_partial_file_beside_the_shard(tmp_path: Path) -> None:
    shards.write_shard(str(tmp_path / "shard.gz"), batch_of(ROWS))
    assert [entry.name for entry in tmp_path.iterdir()] == ["shard.gz"]


def test_a_failed_write_leaves_the_shard_unchanged(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield from shards.encode_examples(batch_of(ROWS[:1]))
        raise OSError("disk full")

    path = str(tmp_path / "shard.gz")
    shards.write_shard(path, batch_of(ROWS))
    with pytest.raises(OSError, match="disk full"):
        shards.write_records(path, failing())
    (read,) = shards.read_shards([path], 10, SCHEMA)
    assert read.to_pylist() == ROWS


def test_a_truncated_shard_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "shard.gz"
    shards.write_shard(str(path), batch_of(ROWS * 1000))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"shard\.gz: unreadable shard"):
        list(shards.read_shards([str(path)], 5000, SCHEMA))


def test_several_values_in_a_scalar_column_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "shard.gz")
    shards.write_shard(path, batch_of([{"counts": [1, 2]}]))
    with pytest.raises(BadInput, match="column counts has several values in one example"):
        list(shards.read_shards([path], 10, pa.schema([pa.field("counts", pa.int64())])))


def test_a_column_type_without_a_feature_type_is_refused() -> None:
    with pytest.raises(TypeError, match="must be string, int64, float32 or a list of those, got double"):
        shards.example_schema(pa.schema([pa.field("x", pa.float64())]))


def test_split_files_are_sorted_and_an_empty_split_is_refused(tmp_path: Path) -> None:
    for shard in (1, 0):
        name = shards.shard_name(span=3, shard=shard, num_shards=2)
        shards.write_shard(f"{shards.split_folder(str(tmp_path), 'train')}/{name}", batch_of(ROWS))
    assert [Path(path).name for path in shards.split_files(str(tmp_path), "train")] == [
        "span-00003-00000-of-00002.gz",
        "span-00003-00001-of-00002.gz",
    ]
    with pytest.raises(BadInput, match="Split-holdout: no examples"):
        shards.split_files(str(tmp_path), "holdout")
