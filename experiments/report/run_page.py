"""A run as a page: what distillation gave each surface, and how labels came."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluation.curves import calibration_curve
from components.evaluation.predictions import ROLES, float_column, read_predictions
from components.evaluation.report_page import Table
from components.progressive_evaluator import FRESH
from components.transforms.join_labels import read_join_report
from eventlog.rows import LABEL_PREFIX
from experiments.report.drawings import Bar, Drawing, intervals, lines
from experiments.report.page import Section, bounded, render
from pipeline.config import Deployment
from pipeline.observation.decisions import finished
from pipeline.observation.summary import summarize
from pipeline.paths import RunPaths

Json = Mapping[str, Any]


def run_page(deployment: Deployment, paths: RunPaths) -> str:
    """The HTML of what a run has published so far.

    Raises:
        BadInput: if the run's records cannot be read.
    """
    summary = summarize(deployment, paths)
    spans = summary["spans"]
    lead = f"Spans {min(spans)} to {max(spans)}." if spans else "No span has been learnt yet."
    surfaces = [_surface(name, found) for name, found in summary["surfaces"].items()]
    return render(
        f"Run {deployment.name}", f"{lead} Every model was judged on spans that it had not seen.",
        [*surfaces, _calibration(deployment, paths), _labels(deployment, paths, summary), _cost(summary)],
    )  # fmt: skip


def _surface(name: str, found: Json) -> Section:
    rows, bars = [], []
    for task, roles in found["tasks"].items():
        metric = "auc" if any("auc" in roles.get(role, {}) for role in ROLES) else "rmse"
        gain = roles.get("difference", {}).get(metric)
        rows.append(
            [task, metric, *(roles.get(role, {}).get(metric) for role in ROLES),
             bounded(gain[0], gain[1], gain[2], sign="+") if gain else "-"]
        )  # fmt: skip
        if gain and None not in gain:
            # A smaller error is a gain: turned, so that right is better on every line.
            sign = 1 if metric == "auc" else -1
            ends = sorted((sign * gain[1], sign * gain[2]))
            bars.append(Bar(f"{task} {metric}", sign * gain[0], *ends))
    table = Table("Progressive figures", ("task", "metric", *ROLES, "student - control"), rows)
    caption = f"{name}: what distillation gained, right is better"
    return Section(f"Surface {name}", tables=[table], drawings=[intervals(caption, bars)] if bars else [])


def _calibration(deployment: Deployment, paths: RunPaths) -> Section:
    """Of the first immediate binary task, surface by surface, over all spans."""
    task = next(
        (name for name, task in deployment.tasks.items() if task.kind == "binary" and not task.delayed), None
    )
    drawings = []
    for surface in deployment.surfaces if task else ():
        tables = [
            read_predictions(Path(record.slots["figures"]) / FRESH, deployment.tasks)
            for record in finished(paths, surface)
            if not record.skipped
        ]
        if tables and task:
            drawing = _calibration_drawing(surface, task, pa.concat_tables(tables))
            drawings += [drawing] if drawing else []
    return Section("Calibration", "On the dashed line a prediction is what happens.", drawings=drawings)


def _calibration_drawing(surface: str, task: str, table: pa.Table) -> Drawing | None:
    labels = float_column(table, LABEL_PREFIX + task)
    curves = {}
    for role in ROLES:
        predictions = float_column(table, f"{role}_{task}")
        known = ~np.isnan(labels) & ~np.isnan(predictions)
        if known.any():
            curves[role] = calibration_curve(labels[known], predictions[known])
    if not curves:
        return None
    return lines(f"{surface}, {task}", curves, x="prediction", y="share of positives", diagonal=True)


def _labels(deployment: Deployment, paths: RunPaths, summary: Json) -> Section:
    coverage = {}
    for surface in deployment.surfaces:
        reports = {
            record.span: read_join_report(record.slots["examples"])
            for record in finished(paths, surface)
            if not record.skipped
        }
        if reports:
            shares = [
                report.labelled_fresh_rows / report.fresh_rows if report.fresh_rows else np.nan
                for report in reports.values()
            ]
            coverage[surface] = (np.array(list(reports)), np.array(shares))
    sets = summary["label_sets"]
    drawings = [lines("Coverage", coverage, x="span", y="share labelled")] if coverage else []
    if sets:
        lag = (np.array([each["span"] for each in sets]), np.array([each["lag_seconds"] for each in sets]))
        drawings.append(lines("Lag: examples to published labels", {"labels": lag}, x="span", y="seconds"))
    columns = ("set", "span", "rows", "lag, s", "age, spans")
    rows = [[each["id"], each["span"], each["rows"], each["lag_seconds"], each["age_spans"]] for each in sets]
    return Section("Labels", tables=[Table("Label sets", columns, rows)], drawings=drawings)


def _cost(summary: Json) -> Section:
    """What the teacher costs each student, as the fleet grows; the control's training is shown beside it."""
    seconds = summary["seconds"]
    teacher = sum(
        value for step, value in seconds.items() if step in ("Trainer_teacher", "SoftLabelBulkInferrer")
    )
    of_role = {
        role: [value for step, value in seconds.items() if step.startswith(f"Trainer_{role}_")]
        for role in ("student", "control")
    }
    rows = [[step, value] for step, value in seconds.items()]
    table = Table("Mean seconds of each step", ("step", "seconds"), rows)
    if not teacher or not of_role["student"]:
        return Section("Cost", tables=[table])
    fleet = np.array([1, 2, 5, 10, 20, 50, 100])
    student = float(np.mean(of_role["student"]))
    curves = {"student and its share of the teacher": (fleet, student + teacher / fleet)}
    if of_role["control"]:
        both = student + float(np.mean(of_role["control"]))
        curves["with a control beside each"] = (fleet, both + teacher / fleet)
    caption = "Seconds a span for each student, as the fleet grows"
    return Section("Cost", tables=[table], drawings=[lines(caption, curves, x="students", y="seconds")])
