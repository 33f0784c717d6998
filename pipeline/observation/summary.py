"""Summary of a run: progressive figures, decisions, freshness, label sets, seconds per step."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ml_metadata.proto import metadata_store_pb2

from components.evaluation.progressive import progressive_figures
from components.label_store.schemes import open_store
from components.span_records import TEACHER
from eventlog.rows import IMPRESSION_SPAN
from pipeline.config import Deployment
from pipeline.observation.decisions import decisions
from pipeline.observation.finished_spans import finished_spans
from pipeline.observation.freshness import measure_freshness, percentiles
from pipeline.observation.lineage import open_metadata
from pipeline.observation.surfaces import surfaces_without_student
from pipeline.paths import RunPaths

_RECENT_SPANS = 10
"""Number of last spans whose rows are counted by surface; all spans of a long log would take too long."""


def summarize(deployment: Deployment, paths: RunPaths) -> dict[str, Any]:
    """Computes the summary from the root, the label store and the event log.

    Returns:
        JSON-ready: `spans` (that a branch has run and not skipped); `surfaces.<surface>.coverage` and
        `surfaces.<surface>.tasks` (see `progressive_figures`); `surfaces_without_student.<surface>` (share of
        the last spans' rows); `decisions`; `freshness.spans` and `freshness.percentiles.<branch>.<stage>`
        (seconds); `label_sets`; `seconds.<step>` (mean over the step's executions in span pipelines).

    Raises:
        BadInput: if a record, an artifact's file, the MLMD, the label store or the event log cannot be read.
    """
    branches = (TEACHER, *deployment.surfaces)
    freshness = measure_freshness(deployment, paths)
    spans = sorted(
        {
            finished.span
            for branch in branches
            for finished in finished_spans(paths, branch)
            if not finished.skipped
        }
    )
    return {
        "spans": spans,
        "surfaces": {name: _surface_figures(deployment, paths, name) for name in deployment.surfaces},
        "surfaces_without_student": surfaces_without_student(
            deployment, paths.events, spans[-_RECENT_SPANS:]
        ),
        "decisions": [dataclasses.asdict(decision) for decision in decisions(deployment, paths)],
        "freshness": {
            "spans": [dataclasses.asdict(span) for span in freshness],
            "percentiles": percentiles(freshness),
        },
        "label_sets": _label_sets(deployment, paths),
        "seconds": _mean_step_seconds(deployment, paths),
    }


def write_summary(summary: dict[str, Any], path: Path) -> None:
    """Writes the summary as JSON, in one step: a reader never sees an incomplete file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=1, allow_nan=False))
    partial.replace(path)


def _surface_figures(deployment: Deployment, paths: RunPaths, surface: str) -> dict[str, Any]:
    rows: dict[int, list[pa.Table]] = collections.defaultdict(list)
    fresh_rows = labelled_rows = 0
    for finished in finished_spans(paths, surface):
        if finished.skipped:
            continue
        rows[finished.span].append(finished.fresh_predictions(deployment.tasks))
        matured = finished.matured_predictions(deployment.tasks)
        for span in pc.unique(matured[IMPRESSION_SPAN]).to_pylist():
            rows[span].append(matured.filter(pc.equal(matured[IMPRESSION_SPAN], span)))
        report = finished.join_report()
        if report is not None:
            fresh_rows += report.fresh_rows
            labelled_rows += report.labelled_fresh_rows
    evaluation = deployment.evaluation
    return {
        "coverage": labelled_rows / fresh_rows if fresh_rows else None,
        "tasks": progressive_figures(
            {span: pa.concat_tables(tables) for span, tables in rows.items()},
            deployment.tasks,
            evaluation.resamples,
            deployment.seed,
            evaluation.min_positives,
        ),
    }


def _label_sets(deployment: Deployment, paths: RunPaths) -> list[dict[str, Any]]:
    store = open_store(paths.label_store(deployment.label_store))
    return [
        {
            "id": record.set_id,
            "span": record.key.span,
            "teacher": record.key.teacher,
            "teacher_version": record.key.teacher_version,
            "rows": record.rows,
            "lag_seconds": record.facts.extra.get("lag_seconds"),
            "age_spans": record.facts.label_age_spans,
        }
        for record in store.list_sets()
    ]


def _mean_step_seconds(deployment: Deployment, paths: RunPaths) -> dict[str, float]:
    """Mean seconds of each step in span pipelines.

    Burn-ins are left out: their Trainers have the same node ids and would change the means.
    """
    if not Path(paths.metadata).is_file():
        return {}
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    store = open_metadata(paths.root)
    for context in store.get_contexts_by_type("node"):
        if not context.name.startswith(f"{deployment.name}-span."):
            continue
        step = context.name.rpartition(".")[2]
        for execution in store.get_executions_by_context(context.id):
            if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                elapsed = execution.last_update_time_since_epoch - execution.create_time_since_epoch
                seconds[step].append(elapsed / 1000)
    return {step: round(sum(values) / len(values), 3) for step, values in sorted(seconds.items())}
