"""Builds the stream of an event log, with features that are fitted on the burn-in as in the pipeline."""

from __future__ import annotations

import contextlib
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
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata
from tfx_bsl.tfxio import tf_example_record

from components.evaluation.scales import on_task_scale
from components.event_schema import read_schema, with_history
from components.history.lookup import add_history, complete_here
from components.history.settings import HistorySource
from components.history.state import open_state
from components.transforms.encode_events import holdout_mask
from components.transforms.shards import encode_examples
from eventlog.checks import EmptySpan, check_span
from eventlog.columns import LogColumns, convert
from eventlog.parquet_files import read_table
from eventlog.rows import CLUSTER_ID, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, SURFACE
from eventlog.spans import complete_spans, span_files, span_versions
from experiments.trials.stream import DESCRIPTION_FILE, ExampleStream, write_stream
from models.preprocessing import features_config, preprocessing_fn
from models.settings import to_json
from models.transform_graph import TransformGraph
from pipeline.config import Deployment

Array = Any

_FORMAT = 4
"""Part of a stream's key. Raise it when the format of the files changes, or the code that computes them."""
_ROWS_PER_BATCH = 8192
"""Rows that are encoded as tf.Examples in one call."""


def load_stream(
    deployment: Deployment, log: Path, folder: Path, extra_rows: Mapping[int, pa.Table] | None = None
) -> Path:
    """Writes the stream of a log into a subfolder of `folder`, if it does not exist.

    Args:
        deployment: gives features, tasks, schema and burn-in.
        log: folder of the event log.
        folder: folder of all streams.
        extra_rows: by span, rows that are not in the log; models score them but never train on them.

    Returns:
        The folder of the stream, for `read_stream`.

    Raises:
        BadInput: if `log` is not an event log, a span before the last is missing, or a span is faulty. A span
            without a fresh row is allowed.
    """
    spans = complete_spans(log)
    extra_rows = extra_rows or {}
    key = _key(deployment, log, extra_rows)
    target = folder / key
    if not (target / DESCRIPTION_FILE).is_file():
        columns = deployment.event_columns.read()
        for span in spans:
            with contextlib.suppress(EmptySpan):
                check_span(log, span, columns)
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            graph = Path(temporary) / "graph"
            source = LogSource(log, columns, deployment.history_source(log, str(Path(temporary) / "history")))
            fit_features(deployment, source, graph, Path(temporary) / "beam")
            write_stream(_build_stream(deployment, source, spans, extra_rows, graph, key), target)
    return target


@dataclasses.dataclass(frozen=True)
class LogSource:
    """An event log with the columns to read and the history to add, None for no history."""

    log: Path
    columns: LogColumns
    history: HistorySource | None = None

    def read(self, span: int) -> pa.Table:
        """The rows of a checked span, without rows whose age is the delay of no task."""
        files = span_files(self.log, span)
        rows = pa.concat_tables([convert(read_table(file), self.columns.schema) for file in files])
        ages = pc.subtract(span, rows[IMPRESSION_SPAN])
        rows = rows.filter(pc.is_in(ages, value_set=pa.array(self.columns.ages, pa.int64())))
        return self.with_history(rows)

    def with_history(self, rows: pa.Table) -> pa.Table:
        """The rows with the columns of the history, computed from the spans before their impressions."""
        if self.history is None:
            return rows
        spans = pc.unique(rows[IMPRESSION_SPAN]).to_pylist()
        return add_history(complete_here(open_state(self.history, self.columns), spans), rows)


def fit_features(deployment: Deployment, source: LogSource, graph: Path, temp_folder: Path) -> None:
    """Fits the features on the training rows of the burn-in; writes the transform graph to `graph`."""
    schema = with_history(read_schema(Path(deployment.schema)), deployment.history)
    decoder = tf_example_record.TFExampleBeamRecord(
        physical_format="inmem", schema=schema, telemetry_descriptors=["experiments"]
    )
    config = features_config(deployment.features)
    options = PipelineOptions(list(deployment.beam_pipeline_args))
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(temp_folder)):
        raw = (
            pipeline
            | "Spans" >> beam.Create(list(deployment.burn_in_spans))
            | "Encode" >> beam.FlatMap(training_examples, source)
            | "Decode" >> decoder.BeamSource()
        )
        analyzed = (raw, decoder.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, config)
        )
        _ = analyzed | tft_beam.WriteTransformFn(str(graph))
        metadata = dataset_metadata.DatasetMetadata(schema)
        _ = metadata | tft_beam.WriteMetadata(str(graph / "metadata"), pipeline=pipeline)


def training_examples(span: int, source: LogSource) -> Iterator[bytes]:
    """Yields the fresh rows of a span, without the held-out clusters, as serialized tf.Examples."""
    table = source.read(span)
    fresh = np.asarray(table[IMPRESSION_SPAN].to_numpy() == span)
    rows = table.filter(pa.array(fresh & ~holdout_mask(table[CLUSTER_ID])))
    for batch in rows.combine_chunks().to_batches(_ROWS_PER_BATCH):
        yield from encode_examples(batch)


def _build_stream(
    deployment: Deployment,
    source: LogSource,
    spans: list[int],
    extra_rows: Mapping[int, pa.Table],
    graph: Path,
    key: str,
) -> ExampleStream:
    transform = TransformGraph(str(graph), deployment.features)
    tables, in_log = [], []
    for span in spans:
        logged = source.read(span)
        extra = convert(extra_rows.get(span, logged.slice(0, 0)), source.columns.schema)
        tables.append(pa.concat_tables([logged, source.with_history(extra)]))
        in_log.append(np.arange(tables[-1].num_rows) < logged.num_rows)
    table, where_logged = pa.concat_tables(tables), np.concatenate(in_log)
    span_of_row = np.repeat(spans, [part.num_rows for part in tables]).astype(np.int32)
    surfaces = table[SURFACE].combine_chunks().dictionary_encode()
    features, served_features = _transform_features(table, transform)
    return ExampleStream(
        key=key,
        tasks=tuple(deployment.tasks),
        surface_names=tuple(surfaces.dictionary.to_pylist()),
        features=features,
        served_features=served_features,
        labels=_labels_on_task_scales(table, deployment),
        spans=span_of_row,
        fresh_row_indices=_fresh_row_indices(table, span_of_row, where_logged),
        clusters=_codes(table[CLUSTER_ID]),
        surfaces=surfaces.indices.to_numpy().astype(np.int32),
        held_out=holdout_mask(table[CLUSTER_ID]) | ~where_logged,
    )


def _transform_features(
    table: pa.Table, transform: TransformGraph
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The transformed features of all rows, and `ExampleStream.served_features`.

    Bags are padded to the longest bag; int64 ids become int32.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def parse_and_transform(serialized: Any) -> Any:
        return transform(tf.io.parse_example(serialized, transform.raw_spec))

    blocks = []
    for batch in table.combine_chunks().to_batches(_ROWS_PER_BATCH):
        blocks.append(
            {name: column.numpy() for name, column in parse_and_transform(encode_examples(batch)).items()}
        )
    names = [name for name, feature in transform.features.items() if feature.served_as is not None]
    if names:
        # A dense column needs a value, so a row of the log has the values of the other columns.
        (row,) = table.slice(0, 1).combine_chunks().to_batches()
        parsed = tf.io.parse_example(encode_examples(row), transform.served_spec)
        served = transform(transform.with_served_values(parsed, tf.constant(1)))
        blocks.append({name: column.numpy() for name, column in served.items()})
    columns = {name: _concatenate_blocks([block[name] for block in blocks]) for name in transform.features}
    num_rows = table.num_rows
    features = {name: column[:num_rows] for name, column in columns.items()}
    return features, {name: columns[name][num_rows:] for name in names}


def _concatenate_blocks(blocks: list[Array]) -> Array:
    if blocks[0].ndim == 2:
        longest = max(block.shape[1] for block in blocks)
        blocks = [np.pad(block, [(0, 0), (0, longest - block.shape[1])]) for block in blocks]
    column = np.concatenate(blocks)
    return column.astype(np.int32) if np.issubdtype(column.dtype, np.integer) else column


def _labels_on_task_scales(table: pa.Table, deployment: Deployment) -> Array:
    """`[rows, tasks]` float32; NaN for null."""
    columns = []
    for name, task in deployment.tasks.items():
        logged = table[LABEL_PREFIX + name].to_numpy().astype(np.float64)
        columns.append(on_task_scale(logged, task))
    return np.stack(columns, axis=1).astype(np.float32)


def _fresh_row_indices(table: pa.Table, spans: Array, where_logged: Array) -> Array:
    """`[rows]` int64: for each row, the index of its impression's fresh row; -1 if the log lacks that row."""
    indices = np.arange(table.num_rows, dtype=np.int64)
    fresh = np.asarray(table[IMPRESSION_SPAN].to_numpy() == spans)
    codes = _codes(table[EXAMPLE_ID])
    fresh_row_by_code = np.full(codes.max() + 1 if codes.size else 0, -1, np.int64)
    fresh_row_by_code[codes[fresh & where_logged]] = indices[fresh & where_logged]
    return np.where(fresh, indices, fresh_row_by_code[codes])


def _codes(column: pa.ChunkedArray) -> Array:
    """`[rows]` int32: equal values have equal codes, numbered from 0."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)


def _key(deployment: Deployment, log: Path, extra_rows: Mapping[int, pa.Table]) -> str:
    """12 hex digits of a hash of the log's files, the schema, the settings and the ids of the extra rows.

    Other columns of the extra rows do not change the key. The code does not either: see `_FORMAT`.
    """
    features = {name: dataclasses.asdict(feature) for name, feature in deployment.features.items()}
    tasks = {name: (task.scale, task.delay) for name, task in deployment.tasks.items()}
    files = [
        (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns)
        for span in span_versions(log)
        for file in span_files(log, span)
    ]
    extra = [[span, *sorted(rows[EXAMPLE_ID].to_pylist())] for span, rows in extra_rows.items()]
    schema = Path(deployment.schema).read_text()
    history = [to_json(deployment.history)] if deployment.history is not None else []
    content = [_FORMAT, features, tasks, deployment.burn_in, files, schema, *history, *extra]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
