"""The predictions table: what each role's model said of a row before it learnt the row, beside its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.rows import CLUSTER_ID, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX, SOFT_PREFIX
from models.tasks import Task

ROLES = ("teacher", "student", "control")


def predictions_schema(tasks: Mapping[str, Task]) -> pa.Schema:
    """The columns of a predictions table.

    Per task `label_<task>` in the task's unit, and `<role>_<task>` on its scale, float32; null where the
    label is masked or the role has no model yet.
    """
    fixed = [(EXAMPLE_ID, pa.string()), (CLUSTER_ID, pa.string()), (IMPRESSION_SPAN, pa.int64())]
    prefixes = (LABEL_PREFIX, *(f"{role}_" for role in ROLES))
    return pa.schema([*fixed, *((prefix + task, pa.float32()) for task in tasks for prefix in prefixes)])


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes one predictions table as one Parquet file, parent folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def read_predictions(path: Path, tasks: Mapping[str, Task]) -> pa.Table:
    """Reads a predictions table back; a task that was added since then has null columns.

    Raises:
        BadInput: if the file is not a predictions table.
    """
    schema = predictions_schema(tasks)
    try:
        found = pq.read_table(path)
        missing = {EXAMPLE_ID, CLUSTER_ID, IMPRESSION_SPAN} - set(found.column_names)
        if missing:
            raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
        return with_schema(found, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise BadInput(
            "unreadable predictions", where=str(path),
            expected=f"Parquet with {EXAMPLE_ID} and the tasks' columns", got=str(error),
            fix="Remove the file and run its span again.",
        ) from error  # fmt: skip


def span_file(span: int) -> str:
    """Name of a span's predictions inside a Predictions artifact, for example `span-00003.parquet`."""
    return f"span-{span:05d}.parquet"


def read_recent(folder: Path, tasks: Mapping[str, Task]) -> dict[int, pa.Table]:
    """What a Predictions artifact keeps: span -> predictions table, in order; nothing of the empty marker.

    Raises:
        BadInput: if a file is not a predictions table.
    """
    paths = {int(path.stem.removeprefix("span-")): path for path in folder.glob("span-*.parquet")}
    return {span: read_predictions(paths[span], tasks) for span in sorted(paths)}


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`, those it lacks null."""
    present = set(table.column_names)
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in present
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


@dataclass(frozen=True)
class Matured:
    """Earlier predictions with the delayed labels that have come since.

    Attributes:
        table: a predictions table in which everything but the delayed tasks is null, so that no immediate
            label is scored twice.
        labels_without_prediction: matured rows whose fresh row was never scored here; dropped.
        predictions_without_label: fresh rows of which no matured row came; dropped.
    """

    table: pa.Table
    labels_without_prediction: int
    predictions_without_label: int


def mature(fresh_predictions: pa.Table, matured_labels: pa.Table) -> Matured:
    """Gives delayed labels to the predictions made when the row was fresh.

    A later model has learnt what users did inside the label's window, so only the kept predictions count.

    Args:
        fresh_predictions: predictions table of the impressions' span.
        matured_labels: `example_id`, `label_<task>` per delayed task and, where the teacher labelled the
            task, `soft_<task>`: the soft labels of the impressions' own label set, which become the
            teacher's predictions where the fresh row carries none.

    Raises:
        BadInput: if an example id occurs twice among the matured rows.
    """
    wanted, known = matured_labels[EXAMPLE_ID], fresh_predictions[EXAMPLE_ID]
    num_distinct = pc.count_distinct(wanted).as_py()
    if num_distinct != matured_labels.num_rows:
        raise BadInput(
            "duplicate example ids", where="matured rows", expected=f"{matured_labels.num_rows} distinct ids",
            got=str(num_distinct), fix="Mend the event log of this span.",
        )  # fmt: skip
    place = pc.index_in(known, value_set=wanted)
    found = pc.is_valid(place)
    kept, labels = fresh_predictions.filter(found), matured_labels.take(place.filter(found).combine_chunks())
    delayed = [
        name.removeprefix(LABEL_PREFIX) for name in labels.column_names if name.startswith(LABEL_PREFIX)
    ]
    return Matured(
        table=_only_delayed(kept, labels, delayed),
        labels_without_prediction=num_distinct - pc.count_distinct(kept[EXAMPLE_ID]).as_py(),
        predictions_without_label=fresh_predictions.num_rows - kept.num_rows,
    )


def _only_delayed(kept: pa.Table, labels: pa.Table, delayed: list[str]) -> pa.Table:
    columns: dict[str, pa.ChunkedArray] = {
        name: kept[name] for name in (EXAMPLE_ID, CLUSTER_ID, IMPRESSION_SPAN)
    }
    for task in delayed:
        columns[LABEL_PREFIX + task] = labels[LABEL_PREFIX + task]
        columns.update({f"{role}_{task}": kept[f"{role}_{task}"] for role in ROLES})
        if SOFT_PREFIX + task in labels.column_names:
            soft = labels[SOFT_PREFIX + task].cast(pa.float32())
            columns[f"teacher_{task}"] = pc.coalesce(kept[f"teacher_{task}"], soft)
    return with_schema(pa.table(columns), kept.schema)


def float_column(table: pa.Table, name: str) -> np.ndarray:
    """A nullable float column as `[rows]` float64, NaN where it is null.

    Raises:
        BadInput: if a value that is there is not finite; it would read as masked.
    """
    column = table[name].combine_chunks() if table.num_rows else pa.array([], pa.float32())
    values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    num_bad = int(np.sum(~np.isfinite(values))) - column.null_count
    if num_bad:
        raise BadInput(
            "not finite", where=f"predictions, column {name}", expected="finite numbers or null",
            got=f"{num_bad} of {values.size} rows not finite",
            fix="Look for the model that diverged, and discard it.",
        )  # fmt: skip
    return values
