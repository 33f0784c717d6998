"""Small test inputs: a real transform graph, shards of random examples, training jobs."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils
from tfx_bsl.tfxio import tf_example_record

from models.architecture import Architecture
from models.distillation import Distillation
from models.features import Feature
from models.job import TrainingJob
from models.optimizers import Optimizer
from models.preprocessing import features_config, preprocessing_fn
from models.settings import to_json
from models.tasks import Task

FEATURES = {
    "user_id": Feature(kind="id", buckets=50),
    "hour": Feature(kind="id", buckets=24),
    "tag": Feature(kind="bag", buckets=20),
    "duration_seconds": Feature(kind="number", log=True),
    "video_age_days": Feature(kind="quantiles", buckets=4),
    "history_user_click": Feature(kind="number"),
}
TEACHER_ONLY = "history_user_click"
TASKS = {
    "click": Task(kind="binary", group="pet"),
    "watch_time": Task(kind="regression", group="pet", unit="seconds", scale="log1p"),
    "like": Task(kind="binary", group="pst"),
}
RAW_TYPES = {
    "user_id": tf.string,
    "hour": tf.int64,
    "tag": tf.string,
    "duration_seconds": tf.float32,
    "video_age_days": tf.float32,
    "history_user_click": tf.float32,
    "label_click": tf.float32,
    "surface": tf.string,
}


def example(**columns: Any) -> bytes:
    """A serialized tf.Example; None and [] make a column missing."""
    features = {}
    for name, value in columns.items():
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not values:
            continue
        if isinstance(values[0], str):
            features[name] = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[text.encode() for text in values])
            )
        elif isinstance(values[0], int):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return serialized


def random_columns(num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Random rows with some missing values; clicks depend on the user and the duration."""
    draw = np.random.default_rng(seed)
    rows = []
    for index in range(num_rows):
        user, duration = int(draw.integers(0, 30)), float(draw.exponential(60.0))
        click = float(draw.random() < (0.8 if user % 2 else 0.2))
        rows.append(
            {
                "example_id": f"{seed}-{index}",
                "surface": "feed" if index % 3 else None,
                "impression_span": seed,
                "user_id": f"u{user}" if draw.random() < 0.9 else None,
                "hour": int(draw.integers(0, 24)),
                "tag": [f"t{tag}" for tag in draw.integers(0, 9, draw.integers(0, 4))],
                "duration_seconds": duration if draw.random() < 0.9 else None,
                "video_age_days": float(draw.exponential(9.0)),
                "history_user_click": float(draw.random()),
                "label_click": click,
                "label_watch_time": duration * click,
                "label_like": float(draw.random() < 0.3) if draw.random() < 0.5 else None,
                "soft_click": float(draw.random()) if draw.random() < 0.7 else None,
                "soft_watch_time": float(draw.random()) if draw.random() < 0.7 else None,
            }
        )
    return rows


def write_shard(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(example(**row))


def job(role: str = "teacher", **changes: Any) -> TrainingJob:
    """A small job; only a teacher has history features."""
    features = {name: kind for name, kind in FEATURES.items() if role == "teacher" or name != TEACHER_ONLY}
    settings = {
        "role": role,
        "surface": None,
        "seed": 7,
        "features": features,
        "tasks": TASKS,
        "distillation": {},
        "architecture": Architecture(embedding_size=4, trunk=(16, 8), tower=(4,), cross_layers=1),
        "optimizer": Optimizer(name="adagrad", learning_rate=0.1),
        "batch_size": 32,
        "passes": 1,
    }
    return TrainingJob(**{**settings, **changes})


AUXILIARY = {
    "click": Distillation(strategy="auxiliary", weight=0.5),
    "watch_time": Distillation(strategy="auxiliary", head="tower", trunk_gradient_scale=0.5),
}


def freeze_graph(folder: Path, rows: Sequence[Mapping[str, Any]], features: Mapping[str, Feature]) -> Path:
    """Runs TFT's analysis over `rows` and writes the output of TFX's Transform."""
    spec = {name: tf.io.VarLenFeature(kind) for name, kind in RAW_TYPES.items()}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    serialized = [example(**{name: row[name] for name in RAW_TYPES}) for row in rows]

    source = tf_example_record.TFExampleBeamRecord(
        physical_format="inmemory", telemetry_descriptors=["test"], schema=metadata.schema
    )
    config = features_config(features)
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):
        batches = pipeline | beam.Create(serialized) | source.BeamSource()
        transform = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, config)
        )
        _ = transform | tft_beam.WriteTransformFn(str(folder / "graph"))
        _ = metadata | tft_beam.WriteMetadata(str(folder / "graph" / "metadata"), pipeline)
    return folder / "graph"


def fn_args(
    artifact: Path, training_job: TrainingJob, graph: Path, files: str, base: Path | None = None
) -> Any:
    """The fields of TFX's FnArgs that `run_fn` reads."""
    return types.SimpleNamespace(
        train_files=[files],
        transform_graph_path=str(graph),
        base_model=None if base is None else str(base / "Format-Serving"),
        serving_model_dir=str(artifact / "Format-Serving"),
        model_run_dir=str(artifact / "run"),
        custom_config={"job": to_json(training_job)},
    )
