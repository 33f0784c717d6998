"""The predictions table: the hard labels of each row, and the predictions of teacher, student and control.

A model predicts a row before it trains on the row (progressive validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.errors import BadInput
from eventlog.parquet_files import read_table, write_table
from eventlog.rows import CLUSTER_ID, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, SOFT_PREFIX
from models.tasks import Task

ROLES = ("teacher", "student", "control")


def predictions_schema(tasks: Mapping[str, Task]) -> pa.Schema:
    """Returns the schema of a predictions table.

    Each task has the float32 columns `label_<task>`, in the task's unit, and `<role>_<task>`, on the task's
    scale. A label is null where masked. A prediction is null if the role has no model yet, or if the
    model lacks the task. The teacher's prediction is the row's soft label, or null without a soft label.
    """
    id_columns = [(EXAMPLE_ID, pa.string()), (CLUSTER_ID, pa.string()), (IMPRESSION_SPAN, pa.int64())]
    prefixes = (LABEL_PREFIX, *(f"{role}_" for role in ROLES))
    return pa.schema([*id_columns, *((prefix + task, pa.float32()) for task in tasks for prefix in prefixes)])


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes a predictions table as one Parquet file; creates missing parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, compression="zstd")


def read_predictions(path: Path, tasks: Mapping[str, Task]) -> pa.Table:
    """Reads a predictions table; the columns of newer tasks, which the file lacks, are null.

    Raises:
        BadInput: if the file is not a predictions table.
    """
    schema = predictions_schema(tasks)
    try:
        table = read_table(path)
        missing = {EXAMPLE_ID, CLUSTER_ID, IMPRESSION_SPAN} - set(table.column_names)
        if missing:
            raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
        return with_schema(table, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise BadInput(
            "unreadable predictions", where=str(path),
            expected=f"Parquet with {EXAMPLE_ID}, {CLUSTER_ID} and {IMPRESSION_SPAN}", got=str(error),
            fix="Remove the file and run its span again.",
        ) from error  # fmt: skip


def span_file(span: int) -> str:
    """Returns the name of a span's file in a Predictions artifact, for example `span-00003.parquet`."""
    return f"span-{span:05d}.parquet"


def read_predictions_by_span(folder: Path, tasks: Mapping[str, Task]) -> dict[int, pa.Table]:
    """Reads a Predictions artifact; returns span -> predictions table, by ascending span.

    Raises:
        BadInput: if a file is not a predictions table.
    """
    paths = {int(path.stem.removeprefix("span-")): path for path in folder.glob("span-*.parquet")}
    return {span: read_predictions(paths[span], tasks) for span in sorted(paths)}


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns `table` with exactly the columns and types of `schema`; missing columns are null."""
    existing = set(table.column_names)
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in existing
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def join_matured_labels(fresh_predictions: pa.Table, matured_labels: pa.Table) -> pa.Table:
    """Joins delayed labels with the predictions from the span of the impression.

    A later model may have trained on events inside the label's window, so its predictions are not used.

    Args:
        fresh_predictions: predictions table of the impressions' span.
        matured_labels: columns `example_id`, `label_<task>` of each delayed task, and optionally
            `soft_<task>` from the label set of the impressions' span. If the fresh row has no prediction of
            the teacher, the soft label becomes the prediction.

    Returns:
        A predictions table of the rows that are in both tables. Only delayed tasks have values, because the
        other tasks were evaluated in the span of the impression.

    Raises:
        BadInput: if an example id occurs twice among the matured rows.
    """
    matured_ids = matured_labels[EXAMPLE_ID]
    num_distinct = pc.count_distinct(matured_ids).as_py()
    if num_distinct != matured_labels.num_rows:
        raise BadInput(
            "duplicate example ids", where="matured rows", expected=f"{matured_labels.num_rows} distinct ids",
            got=str(num_distinct), fix="Remove the duplicates from the event log of this span.",
        )  # fmt: skip
    positions = pc.index_in(fresh_predictions[EXAMPLE_ID], value_set=matured_ids)
    where = pc.is_valid(positions)
    predictions = fresh_predictions.filter(where)
    labels = matured_labels.take(positions.filter(where).combine_chunks())
    columns: dict[str, pa.ChunkedArray] = {
        name: predictions[name] for name in (EXAMPLE_ID, CLUSTER_ID, IMPRESSION_SPAN)
    }
    for name in labels.column_names:
        if not name.startswith(LABEL_PREFIX):
            continue
        task = name.removeprefix(LABEL_PREFIX)
        columns[name] = labels[name]
        columns.update({f"{role}_{task}": predictions[f"{role}_{task}"] for role in ROLES})
        if SOFT_PREFIX + task in labels.column_names:
            soft = labels[SOFT_PREFIX + task].cast(pa.float32())
            columns[f"teacher_{task}"] = pc.coalesce(predictions[f"teacher_{task}"], soft)
    return with_schema(pa.table(columns), predictions.schema)


def float_column(table: pa.Table, name: str) -> np.ndarray:
    """Returns a nullable float column as `[rows]` float64, NaN where the column is null.

    Raises:
        BadInput: if a value is NaN or infinite. A NaN value would look like a null.
    """
    column = table[name].combine_chunks() if table.num_rows else pa.array([], pa.float32())
    values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    num_bad = int(np.sum(~np.isfinite(values))) - column.null_count
    if num_bad:
        raise BadInput(
            "not finite", where=f"predictions, column {name}", expected="finite numbers or null",
            got=f"{num_bad} of {values.size} rows not finite",
            fix="Find the model that diverged and discard it.",
        )  # fmt: skip
    return values
