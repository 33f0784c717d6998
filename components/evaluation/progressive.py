"""Progressive figures: metrics of predictions that a model made for a span before it trained on the span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluation.bootstrap import Array, SpanFigures, SpanRows, interval
from components.evaluation.predictions import ROLES, float_column
from components.evaluation.scales import on_task_scale
from eventlog.rows import CLUSTER_ID, LABEL_PREFIX
from models.tasks import Task


@dataclass(frozen=True)
class _TaskRows:
    """The rows of one span that have a label of the task.

    `predictions`: role -> `[rows]`, NaN where the role has no prediction.
    """

    labels: Array
    clusters: np.ndarray
    predictions: dict[str, Array]

    def select(self, role: str, where: np.ndarray) -> SpanRows:
        return SpanRows(self.labels[where], self.clusters[where], self.predictions[role][where])


@dataclass(frozen=True)
class _RoleFigures:
    """Figures of one role and task, their bootstrap resamples, and the numbers of rows and positives."""

    values: dict[str, float]
    resampled: dict[str, Array]
    examples: int
    positives: int | None


def progressive_figures(
    tables: Mapping[int, pa.Table],
    tasks: Mapping[str, Task],
    resamples: int,
    seed: int,
    min_positives: int = 50,
) -> dict[str, Any]:
    """Computes the figures of teacher, student and control per task, and student minus control.

    Student and control are evaluated on the rows that both models have predicted. The teacher is evaluated on
    the same rows, if they have a soft label. A role without such a row is left out. The bootstrap
    resamples the clusters of all spans together. Student and control share the resamples, so their difference
    is paired.

    Args:
        tables: span -> predictions table. AUC never compares rows of different spans.
        tasks: name -> task to evaluate.
        resamples: number of bootstrap resamples for each interval; 0 for no intervals.
        seed: seed of the draws.
        min_positives: a binary task with fewer positives gets no interval.

    Returns:
        JSON-ready: task -> {<role>: {auc | rmse, log_loss, calibration, examples, positives,
        interval: {metric: [low, high]}}, difference: {metric: [value, low, high]}}. Undefined figures are
        None. Regression has no log_loss and no positives; its errors are on the task's scale.

    Raises:
        BadInput: if a prediction is not finite.
    """
    ordered_tables = [tables[span] for span in sorted(tables)]
    clusters, num_clusters = _index_clusters(ordered_tables)
    figures: dict[str, Any] = {}
    for name, task in tasks.items():
        rows = [
            _task_rows(table, indices, name, task)
            for table, indices in zip(ordered_tables, clusters, strict=True)
        ]
        roles = _compute_figures_by_role(rows, task, num_clusters, resamples, seed)
        figures[name] = {role: _to_json(role_figures, min_positives) for role, role_figures in roles.items()}
        if "student" in roles and "control" in roles:
            difference = _difference(roles["student"], roles["control"], min_positives)
            figures[name]["difference"] = difference
    return figures


def _index_clusters(tables: Sequence[pa.Table]) -> tuple[list[np.ndarray], int]:
    """Returns each table's `[rows]` int64 cluster indices, and the number of clusters of all tables."""
    if not tables:
        return [], 0
    columns = [table[CLUSTER_ID].combine_chunks() if table.num_rows else [] for table in tables]
    ids = pc.unique(pa.chunked_array(columns, pa.string()))
    indices = [pc.index_in(table[CLUSTER_ID], value_set=ids).to_numpy().astype(np.int64) for table in tables]
    return indices, len(ids)


def _task_rows(table: pa.Table, clusters: np.ndarray, name: str, task: Task) -> _TaskRows:
    labels = float_column(table, LABEL_PREFIX + name)
    where = ~np.isnan(labels)
    return _TaskRows(
        labels=on_task_scale(labels[where], task),
        clusters=clusters[where],
        predictions={role: float_column(table, f"{role}_{name}")[where] for role in ROLES},
    )


def _compute_figures_by_role(
    rows: Sequence[_TaskRows], task: Task, num_clusters: int, resamples: int, seed: int
) -> dict[str, _RoleFigures]:
    predicted = [{role: ~np.isnan(span.predictions[role]) for role in ROLES} for span in rows]
    paired = [role for role in ("student", "control") if any(masks[role].any() for masks in predicted)]
    figures = {}
    for role in ROLES:
        # A row must have predictions of this role and of student and control.
        where = [np.logical_and.reduce([masks[name] for name in {role, *paired}]) for masks in predicted]
        if any(mask.any() for mask in where):
            role_rows = [span.select(role, mask) for span, mask in zip(rows, where, strict=True)]
            figures[role] = _compute_figures(role_rows, task, num_clusters, resamples, seed)
    return figures


def _compute_figures(
    spans: Sequence[SpanRows], task: Task, num_clusters: int, resamples: int, seed: int
) -> _RoleFigures:
    figures = SpanFigures(task.kind, spans, num_clusters)
    positives = sum(int(np.sum(rows.labels > 0.5)) for rows in spans) if task.kind == "binary" else None
    return _RoleFigures(
        values=figures.compute_unweighted(),
        resampled=figures.compute_resampled(resamples, seed),
        examples=sum(rows.labels.size for rows in spans),
        positives=positives,
    )


def _to_json(figures: _RoleFigures, min_positives: int) -> dict[str, Any]:
    fields: dict[str, Any] = {metric: _finite_or_none(value) for metric, value in figures.values.items()}
    fields["examples"] = figures.examples
    if figures.positives is not None:
        fields["positives"] = figures.positives
    fields["interval"] = {
        metric: _interval_bounds(values, figures.positives, min_positives)
        for metric, values in figures.resampled.items()
    }
    return fields


def _difference(
    student: _RoleFigures, control: _RoleFigures, min_positives: int
) -> dict[str, list[float | None]]:
    return {
        metric: [
            _finite_or_none(student.values[metric] - control.values[metric]),
            *_interval_bounds(
                student.resampled[metric] - control.resampled[metric], student.positives, min_positives
            ),
        ]
        for metric in student.values
    }


def _interval_bounds(values: Array, positives: int | None, min_positives: int) -> list[float | None]:
    if positives is not None and positives < min_positives:
        return [None, None]
    bounds = interval(values)
    return [None, None] if bounds is None else list(bounds)


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
