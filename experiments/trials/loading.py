"""From an event log to a stream in memory; the features are fitted on the burn-in, as at a bootstrap."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata
from tfx_bsl.tfxio import tf_example_record

from components.evaluation.scales import on_task_scale
from components.transforms.encode_events import holdout_mask
from components.transforms.shards import encode_examples
from eventlog.rows import CLUSTER_ID, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, LOG_SCHEMA, SURFACE
from eventlog.spans import complete_spans, span_files, span_versions
from experiments.trials.stream import DESCRIPTION, Stream, write_stream
from models.preprocessing import features_config, preprocessing_fn
from models.transform_graph import TransformGraph
from pipeline.config import Deployment

Array = Any

_FORMAT = 1
"""Part of the key: what was written by other code is not read."""
_ROWS_AT_ONCE = 8192


def load_stream(
    deployment: Deployment, log: Path, folder: Path, candidates: Mapping[int, pa.Table] | None = None
) -> Path:
    """Writes the stream of a log below `folder`, unless it is there already.

    Args:
        deployment: names features and tasks; the features are fitted on its burn-in.
        log: the event log.
        folder: where streams lie.
        candidates: by span, rows that are scored beside the log's and never learnt.

    Returns:
        The stream's own folder, see `read_stream`.

    Raises:
        BadInput: if the log is none, or lacks spans.
    """
    spans = complete_spans(log)
    key = _key(deployment, log, candidates or {})
    target = folder / key
    if not (target / DESCRIPTION).is_file():
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            graph = Path(temporary) / "graph"
            fit_features(deployment, log, graph, Path(temporary) / "beam")
            write_stream(_stream(deployment, log, spans, candidates or {}, graph, key), target)
    return target


def fit_features(deployment: Deployment, log: Path, graph: Path, temporary: Path) -> None:
    """Analyses the burn-in's learnt rows and writes the transform graph."""
    schema = text_format.Parse(Path(deployment.schema).read_text(), schema_pb2.Schema())
    source = tf_example_record.TFExampleBeamRecord(
        physical_format="inmem", schema=schema, telemetry_descriptors=["experiments"]
    )
    config = features_config(deployment.features)
    options = PipelineOptions(list(deployment.beam_pipeline_args))
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(temporary)):
        raw = (
            pipeline
            | "Spans" >> beam.Create(list(deployment.burn_in_spans))
            | "Encode" >> beam.FlatMap(_learnt_examples, str(log))
            | "Decode" >> source.BeamSource()
        )
        analyzed = (raw, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, config)
        )
        _ = analyzed | tft_beam.WriteTransformFn(str(graph))
        metadata = dataset_metadata.DatasetMetadata(schema)
        _ = metadata | tft_beam.WriteMetadata(str(graph / "metadata"), pipeline=pipeline)


def _learnt_examples(span: int, log: str) -> Iterator[bytes]:
    table = _read(Path(log), span)
    fresh = np.asarray(table[IMPRESSION_SPAN].to_numpy() == span)
    learnt = table.filter(pa.array(fresh & ~holdout_mask(table[CLUSTER_ID])))
    for batch in learnt.combine_chunks().to_batches(_ROWS_AT_ONCE):
        yield from encode_examples(batch)


def _stream(
    deployment: Deployment,
    log: Path,
    spans: list[int],
    candidates: Mapping[int, pa.Table],
    graph: Path,
    key: str,
) -> Stream:
    transform = TransformGraph(str(graph), deployment.features)
    logged = [_read(log, span) for span in spans]
    offered = [candidates.get(span, LOG_SCHEMA.empty_table()).cast(LOG_SCHEMA) for span in spans]
    both = [pa.concat_tables(tables) for tables in zip(logged, offered, strict=True)]
    table = pa.concat_tables(both)
    of_span = np.repeat(spans, [part.num_rows for part in both]).astype(np.int32)
    of_log = [np.arange(part.num_rows) < own.num_rows for part, own in zip(both, logged, strict=True)]
    surfaces = table[SURFACE].combine_chunks().dictionary_encode()
    names = surfaces.dictionary.to_pylist()
    return Stream(
        key=key,
        tasks=tuple(deployment.tasks),
        surface_names=tuple(names),
        features=_transformed(table, transform),
        labels=_labels(table, deployment),
        spans=of_span,
        twins=_twins(table, of_span, np.concatenate(of_log)),
        clusters=_codes(table[CLUSTER_ID]),
        surfaces=surfaces.indices.to_numpy().astype(np.int32),
        held_out=holdout_mask(table[CLUSTER_ID]) | ~np.concatenate(of_log),
    )


def _transformed(table: pa.Table, transform: TransformGraph) -> dict[str, Array]:
    """The features of all rows; bags are padded to the longest there is, ids take half their bytes."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def parsed(serialized: Any) -> Any:
        return transform(tf.io.parse_example(serialized, transform.raw_spec))

    blocks = []
    for batch in table.combine_chunks().to_batches(_ROWS_AT_ONCE):
        blocks.append({name: column.numpy() for name, column in parsed(encode_examples(batch)).items()})
    return {name: _stacked([block[name] for block in blocks]) for name in transform.features}


def _stacked(blocks: list[Array]) -> Array:
    if blocks[0].ndim == 2:
        longest = max(block.shape[1] for block in blocks)
        blocks = [np.pad(block, [(0, 0), (0, longest - block.shape[1])]) for block in blocks]
    column = np.concatenate(blocks)
    return column.astype(np.int32) if np.issubdtype(column.dtype, np.integer) else column


def _labels(table: pa.Table, deployment: Deployment) -> Array:
    columns = []
    for name, task in deployment.tasks.items():
        raw = table[LABEL_PREFIX + name].to_numpy().astype(np.float64)
        columns.append(on_task_scale(raw, task))
    return np.stack(columns, axis=1).astype(np.float32)


def _twins(table: pa.Table, spans: Array, of_log: Array) -> Array:
    own = np.arange(table.num_rows, dtype=np.int64)
    fresh = np.asarray(table[IMPRESSION_SPAN].to_numpy() == spans)
    codes = _codes(table[EXAMPLE_ID])
    impression = np.full(codes.max() + 1 if codes.size else 0, -1, np.int64)
    impression[codes[fresh & of_log]] = own[fresh & of_log]
    return np.where(fresh, own, impression[codes])


def _codes(column: pa.ChunkedArray) -> Array:
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)


def _read(log: Path, span: int) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in span_files(log, span)])


def _key(deployment: Deployment, log: Path, candidates: Mapping[int, pa.Table]) -> str:
    """12 hex digits of all that the stream depends on."""
    features = {name: dataclasses.asdict(feature) for name, feature in deployment.features.items()}
    tasks = {name: task.scale for name, task in deployment.tasks.items()}
    files = [
        (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns)
        for span in span_versions(log)
        for file in span_files(log, span)
    ]
    offered = [[span, rows.num_rows, str(rows[CLUSTER_ID][-1])] for span, rows in candidates.items()]
    told = [_FORMAT, features, tasks, deployment.burn_in, files, *offered]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
