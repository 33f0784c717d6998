"""What a run has shown so far: progressive figures pooled over its spans, decisions, freshness, seconds."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.evaluation.predictions import read_predictions
from components.evaluation.progressive import progressive_figures
from components.label_store.schemes import open_store
from components.progressive_evaluator import FRESH, MATURED
from components.span_records import TEACHER
from components.transforms.join_labels import read_join_report
from eventlog.rows import MATURITY_SPANS
from pipeline.config import Deployment
from pipeline.observation.decisions import decisions, finished
from pipeline.observation.freshness import freshness, percentiles
from pipeline.paths import RunPaths


def summarize(deployment: Deployment, paths: RunPaths) -> dict[str, Any]:
    """Computes the summary from what the run has published, and nothing else.

    Returns:
        JSON-ready: `spans`, those that any branch has learnt; `surfaces.<surface>.coverage` and
        `surfaces.<surface>.tasks` (see `progressive_figures`); `decisions`; `freshness.spans` and
        `freshness.percentiles.<branch>.<stage>`; `label_sets`; `seconds.<step>`, the mean over executions.
    """
    branches = (TEACHER, *deployment.surfaces)
    fresh = freshness(deployment, paths)
    return {
        "spans": sorted(
            {each.span for branch in branches for each in finished(paths, branch) if not each.skipped}
        ),
        "surfaces": {surface: _surface(deployment, paths, surface) for surface in deployment.surfaces},
        "decisions": [dataclasses.asdict(decision) for decision in decisions(deployment, paths)],
        "freshness": {
            "spans": [dataclasses.asdict(each) for each in fresh],
            "percentiles": percentiles(fresh),
        },
        "label_sets": _label_sets(deployment, paths),
        "seconds": _step_seconds(paths),
    }


def write_summary(summary: dict[str, Any], path: Path) -> None:
    """Writes it whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=1, allow_nan=False))
    partial.replace(path)


def _surface(deployment: Deployment, paths: RunPaths, surface: str) -> dict[str, Any]:
    rows: dict[int, list[pa.Table]] = collections.defaultdict(list)
    fresh_rows = labelled_rows = 0
    for record in finished(paths, surface):
        if record.skipped:
            continue
        figures = Path(record.slots["figures"])
        rows[record.span].append(read_predictions(figures / FRESH, deployment.tasks))
        matured = read_predictions(figures / MATURED, deployment.tasks)
        if matured.num_rows:
            rows[record.span - MATURITY_SPANS].append(matured)
        report = read_join_report(record.slots["examples"])
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
            "lag_seconds": record.facts.extra["lag_seconds"],
            "age_spans": record.facts.label_age_spans,
        }
        for record in store.list_sets()
    ]


def _step_seconds(paths: RunPaths) -> dict[str, float]:
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    config = metadata.sqlite_metadata_connection_config(paths.metadata)
    with metadata.Metadata(config) as handle:
        for context in handle.store.get_contexts_by_type("node"):
            step = context.name.rpartition(".")[2]
            for execution in handle.store.get_executions_by_context(context.id):
                if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                    elapsed = execution.last_update_time_since_epoch - execution.create_time_since_epoch
                    seconds[step].append(elapsed / 1000)
    return {step: round(sum(values) / len(values), 3) for step, values in sorted(seconds.items())}
