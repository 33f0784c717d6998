"""Compares the speed of three ways to label the same Examples with the same SavedModel.

`ours` is the labelling job, up to the published label set. `stock` is the executor of TFX's BulkInferrer.
`limit` is the speed to aim for: a plain loop tf.data -> SavedModel -> Parquet, without Beam and publication.
The times include start-up (pipeline, loading of the model) but not the generation of the Examples.

Usage: `python -m benchmarks.labelling [--examples 100000]`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import models  # noqa: F401  # sets environment variables before TensorFlow is imported

WARM_UP_EXAMPLES = 10_000
REPEATS = 3
BATCH_ROWS = 4096
BEAM_OPTIONS = ("--runner=FnApiRunner",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000, help="number of examples to label")
    options = parser.parse_args(arguments)
    _disable_warnings()
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        per_second = measure(Path(folder), options.examples)
    for name, rate in per_second.items():
        print(f"{name:6} {rate:10,.0f} examples/s")
    ratios = {name: round(per_second["ours"] / per_second[name], 3) for name in ("stock", "limit")}
    rounded = {name: round(rate) for name, rate in per_second.items()}
    print("BENCH " + json.dumps({"name": "labelling", "ratios": ratios, "examples_per_second": rounded}))


def _disable_warnings() -> None:
    """Turns off warnings: stock TFX and TensorFlow 1's loader would warn on every call."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")


def measure(folder: Path, num_examples: int) -> dict[str, float]:
    """Returns the examples per second of each labeller: the median of `REPEATS` runs; `stock` runs once."""
    from benchmarks import labelling_workload as workload

    model, examples, few_examples = (str(folder / name) for name in ("model", "examples", "few"))
    workload.write_model(model, seed=1)
    workload.write_examples(few_examples, min(WARM_UP_EXAMPLES, num_examples), seed=2)
    workload.write_examples(examples, num_examples, seed=3)
    seconds: dict[str, list[float]] = {name: [] for name in LABELLERS}
    for name, label in LABELLERS.items():
        label(few_examples, model, folder / f"warm-{name}")
    for repeat in range(REPEATS):
        for name, label in LABELLERS.items():
            if name != "stock" or repeat == 0:
                out = folder / f"{name}-{repeat}"
                seconds[name].append(timed_seconds(label, examples, model, out, num_examples))
    return {name: num_examples / statistics.median(times) for name, times in seconds.items()}


def timed_seconds(
    label: Callable[[str, str, Path], int], examples: str, model: str, out: Path, num_examples: int
) -> float:
    """Returns the seconds of one run of a function of `LABELLERS`.

    Raises:
        ValueError: if the function does not label `num_examples` examples; its time is not comparable.
    """
    gc.collect()
    start = time.perf_counter()
    labelled = label(examples, model, out)
    seconds = time.perf_counter() - start
    if labelled != num_examples:
        raise ValueError(
            f"{label.__name__} labelled {labelled} of {num_examples} examples, so its time is not comparable."
        )
    return seconds


def label_ours(examples_uri: str, model_uri: str, out: Path) -> int:
    """Labels with the labelling job into a new Delta label store; returns the rows of the published set."""
    from benchmarks.labelling_workload import SPAN, TASKS
    from components.evaluation.label_checks import LabelChecks
    from components.label_store.base import LabelSetKey
    from components.transforms.label_shards import label_span
    from models.tasks import Task

    labelled = label_span(
        examples_uri=examples_uri,
        model_uri=model_uri,
        store_uri=f"delta:{out / 'labels'}",
        key=LabelSetKey(teacher="wide", teacher_version="1", span=SPAN),
        tasks={task: Task(kind="binary", group="pet") for task in TASKS},
        feature_version="1",
        label_age_spans=1,
        ready_ms=time.time_ns() // 1_000_000,
        beam_options=BEAM_OPTIONS,
        scratch=str(out / "scratch"),
        checks=LabelChecks(),
    )
    return labelled.record.rows


def label_stock(examples_uri: str, model_uri: str, out: Path) -> int:
    """Labels with TFX's BulkInferrer; returns the number of PredictionLog records."""
    import tensorflow as tf
    from tfx.components.bulk_inferrer.executor import Executor
    from tfx.proto import bulk_inferrer_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
    result = standard_artifacts.InferenceResult()
    examples.uri, model.uri, result.uri = examples_uri, model_uri, str(out)
    examples.split_names = '["train"]'
    out.mkdir(parents=True)
    model_spec = bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"], tag=["serve"])
    Executor().Do(
        {"examples": [examples], "model": [model]},
        {"inference_result": [result]},
        {
            "model_spec": proto_utils.proto_to_json(model_spec),
            "data_spec": proto_utils.proto_to_json(bulk_inferrer_pb2.DataSpec()),
        },
    )
    files = [str(path) for path in out.glob("prediction_logs*")]
    return int(tf.data.TFRecordDataset(files, "GZIP").reduce(0, lambda count, _: count + 1))


def label_limit(examples_uri: str, model_uri: str, out: Path) -> int:
    """Labels with a plain loop over shards and batches, the speed to aim for; returns the number of rows."""
    import pyarrow as pa
    import tensorflow as tf

    from components.transforms.shards import split_files
    from eventlog.parquet_files import write_table

    model = tf.saved_model.load(f"{model_uri}/Format-Serving")
    predict = model.signatures["serving_default"]
    id_feature = {"example_id": tf.io.FixedLenFeature([], tf.string)}
    out.mkdir(parents=True)
    rows = 0
    for file in split_files(examples_uri, "train"):
        batches = tf.data.TFRecordDataset(file, "GZIP").batch(BATCH_ROWS).prefetch(tf.data.AUTOTUNE)
        tables = []
        for serialized in batches:
            ids = tf.io.parse_example(serialized, id_feature)["example_id"].numpy()
            values = {task: output.numpy() for task, output in predict(examples=serialized).items()}
            tables.append(pa.table({"example_id": pa.array(ids, pa.binary()).cast(pa.string()), **values}))
        labelled = pa.concat_tables(tables)
        write_table(labelled, out / f"{Path(file).stem}.parquet")
        rows += labelled.num_rows
    return rows


LABELLERS: dict[str, Callable[[str, str, Path], int]] = {
    "ours": label_ours,
    "stock": label_stock,
    "limit": label_limit,
}
"""Name → function (URI of Examples, URI of Model, new folder) that returns the number of labelled rows."""


if __name__ == "__main__":
    main()
