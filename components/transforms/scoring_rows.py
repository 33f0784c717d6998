"""Scores Examples with models, for the predictions table and for the candidate check.

TensorFlow is imported inside the functions that need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluation.predictions import float_column, predictions_schema, with_schema
from eventlog.errors import BadInput
from eventlog.rows import CLUSTER_ID, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, SOFT_PREFIX
from models.state import EMPTY_MARKER
from models.tasks import Task

BATCH_ROWS = 4096


def has_model(model_uri: str | None) -> bool:
    """Whether the artifact contains a model; False for None and for an artifact with the empty marker."""
    import tensorflow as tf

    return model_uri is not None and not tf.io.gfile.exists(f"{model_uri.rstrip('/')}/{EMPTY_MARKER}")


def score_span(
    files: Sequence[str], student_uri: str | None, control_uri: str | None, tasks: Mapping[str, Task]
) -> pa.Table:
    """Scores a span's joined fresh examples; returns the predictions table.

    Args:
        files: shards of the joined Examples; their soft labels are the teacher's predictions.
        student_uri: Model artifact of a student that has not trained on these rows. If it is None or contains
            the empty marker, the student's columns are null.
        control_uri: Model artifact of the control, like `student_uri`.
        tasks: name → task. If a model does not predict a task, its column is null.

    Raises:
        BadInput: if a shard cannot be read, or a model's predictions lack a row.
    """
    columns = {EXAMPLE_ID: pa.string(), CLUSTER_ID: pa.string(), IMPRESSION_SPAN: pa.int64()}
    columns |= {prefix + task: pa.float32() for task in tasks for prefix in (LABEL_PREFIX, SOFT_PREFIX)}
    rows = _read_rows(files, columns)
    names = [
        f"teacher_{name.removeprefix(SOFT_PREFIX)}" if name.startswith(SOFT_PREFIX) else name
        for name in columns
    ]
    table = rows.rename_columns(names)
    for role, uri in (("student", student_uri), ("control", control_uri)):
        if uri is not None and has_model(uri):
            predicted = _predict(files, uri, rows[EXAMPLE_ID])
            for task in set(tasks) & set(predicted.column_names):
                table = table.append_column(f"{role}_{task}", predicted[task].cast(pa.float32()))
    return with_schema(table, predictions_schema(tasks))


def read_matured_labels(files: Sequence[str], tasks: Mapping[str, Task]) -> pa.Table:
    """Reads the delayed labels of a span's joined matured examples, for `predictions.join_matured_labels`.

    Returns:
        A table of `example_id`, `impression_span`, and of each delayed task `label_<task>` and `soft_<task>`,
        float32.
    """
    delayed = [name for name, task in tasks.items() if task.delayed]
    columns = {prefix + task: pa.float32() for task in delayed for prefix in (LABEL_PREFIX, SOFT_PREFIX)}
    return _read_rows(files, {EXAMPLE_ID: pa.string(), IMPRESSION_SPAN: pa.int64(), **columns})


def read_labels(files: Sequence[str], tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """Reads the hard labels: task → `[rows]` float64 as in the event log, NaN where masked."""
    rows = _read_rows(files, {LABEL_PREFIX + task: pa.float32() for task in tasks})
    return {task: float_column(rows, LABEL_PREFIX + task) for task in tasks}


def predict_rows(files: Sequence[str], model_uri: str, tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """Returns a model's predictions: task → `[rows]` float32, in the row order of `read_labels`.

    Raises:
        BadInput: if the model does not predict one of the tasks, or its predictions lack a row.
    """
    predicted = _predict(files, model_uri, _read_rows(files, {EXAMPLE_ID: pa.string()})[EXAMPLE_ID])
    missing = sorted(set(tasks) - set(predicted.column_names))
    if missing:
        raise BadInput(
            "model lacks a task", where=model_uri, expected=f"outputs {', '.join(sorted(tasks))}",
            got=f"no output {', '.join(missing)}",
            fix="Train the model on these tasks, or leave them out of the check.",
        )  # fmt: skip
    return {task: predicted[task].to_numpy() for task in tasks}


def _read_rows(files: Sequence[str], columns: Mapping[str, pa.DataType]) -> pa.Table:
    from components.transforms.shards import read_shards

    schema = pa.schema(list(columns.items()))
    return pa.Table.from_batches(read_shards(files, BATCH_ROWS, schema), schema=schema)


def _predict(files: Sequence[str], model_uri: str, example_ids: pa.ChunkedArray) -> pa.Table:
    """Returns the model's outputs, one column per task, with rows in the order of `example_ids`."""
    from models.scoring import load_scorer

    scorer = load_scorer(model_uri)
    schema = pa.schema([(EXAMPLE_ID, pa.string()), *((task, pa.float32()) for task in scorer.tasks)])
    batches = scorer.score_files(files, {EXAMPLE_ID: pa.string()}, BATCH_ROWS)
    scored = pa.Table.from_batches(list(batches), schema=schema)
    if scored[EXAMPLE_ID].equals(example_ids):
        return scored
    positions = pc.index_in(example_ids, value_set=scored[EXAMPLE_ID])
    if scored.num_rows != len(example_ids) or positions.null_count:
        raise BadInput(
            "model did not score every row", where=model_uri, expected=f"{len(example_ids)} rows",
            got=f"{scored.num_rows} rows, {positions.null_count} ids missing",
            fix="Check that the shards of the Examples are complete.",
        )  # fmt: skip
    return scored.take(positions.combine_chunks())
