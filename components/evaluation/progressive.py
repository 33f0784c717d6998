"""Progressive figures: each model judged on spans it had not seen when it predicted them."""

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
    """One span's rows that carry the task's label; NaN where a role predicted nothing."""

    labels: Array
    clusters: np.ndarray
    predictions: dict[str, Array]

    def where(self, role: str, where: np.ndarray) -> SpanRows:
        return SpanRows(self.labels[where], self.clusters[where], self.predictions[role][where])


@dataclass(frozen=True)
class _RoleFigures:
    """A role's figures of one task with their resamples, and how much stands behind them."""

    mean: dict[str, float]
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
    """Figures of teacher, student and control per task, and student minus control, pooled over spans.

    Student and control are judged on exactly the rows for which both have a prediction (a role that has
    none at all is absent), the teacher on those of these rows that it labelled. Clusters, pooled over all
    spans, are resampled; student and control see the same resamples, so their difference is paired.

    Args:
        tables: span -> predictions table; AUC never compares rows of different spans.
        tasks: the tasks to judge.
        resamples: bootstrap draws behind each interval, 0 for none.
        seed: of the draws.
        min_positives: a binary task with fewer positives gets no interval.

    Returns:
        JSON-ready, without NaN: task -> {role: {auc | rmse, log_loss, calibration, examples, positives,
        interval: {metric: [low, high]}}, difference: {metric: [mean, low, high]}}, None where undefined.
        Regression has no log_loss and no positives, and is judged on the task's scale.

    Raises:
        BadInput: if a prediction is not finite.
    """
    spans = [tables[span] for span in sorted(tables)]
    clusters, num_clusters = _cluster_indices(spans)
    figures: dict[str, Any] = {}
    for name, task in tasks.items():
        rows = [
            _task_rows(table, of_span, name, task) for table, of_span in zip(spans, clusters, strict=True)
        ]
        roles = _figures_of_roles(rows, task, num_clusters, resamples, seed)
        figures[name] = {role: _shown(found, min_positives) for role, found in roles.items()}
        if "student" in roles and "control" in roles:
            difference = _difference(roles["student"], roles["control"], min_positives)
            figures[name]["difference"] = difference
    return figures


def _cluster_indices(spans: Sequence[pa.Table]) -> tuple[list[np.ndarray], int]:
    """Numbers the clusters of all spans together: `[rows]` int64 per span, and how many there are."""
    if not spans:
        return [], 0
    columns = [table[CLUSTER_ID].combine_chunks() if table.num_rows else [] for table in spans]
    known = pc.unique(pa.chunked_array(columns, pa.string()))
    indices = [pc.index_in(table[CLUSTER_ID], value_set=known).to_numpy().astype(np.int64) for table in spans]
    return indices, len(known)


def _task_rows(table: pa.Table, clusters: np.ndarray, name: str, task: Task) -> _TaskRows:
    labels = float_column(table, LABEL_PREFIX + name)
    labelled = ~np.isnan(labels)
    return _TaskRows(
        labels=on_task_scale(labels[labelled], task),
        clusters=clusters[labelled],
        predictions={role: float_column(table, f"{role}_{name}")[labelled] for role in ROLES},
    )


def _figures_of_roles(
    rows: Sequence[_TaskRows], task: Task, num_clusters: int, resamples: int, seed: int
) -> dict[str, _RoleFigures]:
    there = [{role: ~np.isnan(of_span.predictions[role]) for role in ROLES} for of_span in rows]
    present = {role: any(of_span[role].any() for of_span in there) for role in ROLES}
    judged = [role for role in ("student", "control") if present[role]]
    figures = {}
    for role in ROLES:
        where = [np.logical_and.reduce([of_span[other] for other in {role, *judged}]) for of_span in there]
        if any(of_span.any() for of_span in where):
            chosen = [of_span.where(role, kept) for of_span, kept in zip(rows, where, strict=True)]
            figures[role] = _role_figures(chosen, task, num_clusters, resamples, seed)
    return figures


def _role_figures(
    spans: Sequence[SpanRows], task: Task, num_clusters: int, resamples: int, seed: int
) -> _RoleFigures:
    figures = SpanFigures(task.kind, spans, num_clusters)
    positives = sum(int(np.sum(rows.labels > 0.5)) for rows in spans) if task.kind == "binary" else None
    return _RoleFigures(
        mean=figures.once(),
        resampled=figures.resampled(resamples, seed),
        examples=sum(rows.labels.size for rows in spans),
        positives=positives,
    )


def _shown(figures: _RoleFigures, min_positives: int) -> dict[str, Any]:
    shown: dict[str, Any] = {metric: _number(value) for metric, value in figures.mean.items()}
    shown["examples"] = figures.examples
    if figures.positives is not None:
        shown["positives"] = figures.positives
    shown["interval"] = {
        metric: _bounds(values, figures.positives, min_positives)
        for metric, values in figures.resampled.items()
    }
    return shown


def _difference(
    student: _RoleFigures, control: _RoleFigures, min_positives: int
) -> dict[str, list[float | None]]:
    return {
        metric: [
            _number(student.mean[metric] - control.mean[metric]),
            *_bounds(student.resampled[metric] - control.resampled[metric], student.positives, min_positives),
        ]
        for metric in student.mean
    }


def _bounds(values: Array, positives: int | None, min_positives: int) -> list[float | None]:
    if positives is not None and positives < min_positives:
        return [None, None]
    found = interval(values)
    return [None, None] if found is None else list(found)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
