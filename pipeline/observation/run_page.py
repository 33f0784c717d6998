"""HTML page about a run: gains by surface and span, calibration, label coverage and lag, and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluation.bootstrap import METRICS
from components.evaluation.curves import calibration_curve
from components.evaluation.drawings import (
    FLEET_SIZES,
    Bar,
    Drawing,
    interval_chart,
    line_chart,
    span_chart,
)
from components.evaluation.predictions import ROLES, float_column
from components.evaluation.report_page import Section, Table, render_sections, with_interval
from eventlog.rows import LABEL_PREFIX
from pipeline.config import Deployment
from pipeline.observation.finished_spans import finished_spans
from pipeline.observation.summary_table import headline_tasks
from pipeline.paths import RunPaths

Json = Mapping[str, Any]


def run_page(deployment: Deployment, paths: RunPaths, summary: Json) -> str:
    """Returns the HTML page about the spans that a run has finished so far.

    Args:
        deployment: The configuration.
        paths: The run's paths.
        summary: Output of `pipeline.observation.summary.summarize`.

    Raises:
        BadInput: if a record or an artifact's file cannot be read.
    """
    spans = summary["spans"]
    lead = f"Spans {min(spans)} to {max(spans)}." if spans else "No span is finished yet."
    surfaces = summary["surfaces"].items()
    sections = [
        *(_surface_section(deployment, paths, name, figures) for name, figures in surfaces),
        _calibration_section(deployment, paths),
        _labels_section(deployment, paths, summary),
        _cost_section(summary),
    ]
    lead += (
        " Every model is evaluated on spans on which it had not yet trained. The control is trained like the "
        "student, but without the teacher's labels. Higher AUC and lower RMSE are better."
    )
    return render_sections(f"Run {deployment.name}", lead, sections)


def _surface_section(deployment: Deployment, paths: RunPaths, name: str, figures: Json) -> Section:
    rows, bars = [], []
    for task, roles in figures["tasks"].items():
        metric = METRICS[deployment.tasks[task].kind][0]
        positives = next(
            (roles[role]["positives"] for role in ROLES if "positives" in roles.get(role, {})), None
        )
        if positives is not None and positives < deployment.evaluation.min_positives:
            rows.append([task, metric, *(None for _ in ROLES), f"too few positives: {positives}"])
            continue
        values = [roles.get(role, {}).get(metric) for role in ROLES]
        difference = roles.get("difference", {}).get(metric)
        value, low, high = difference or (None, None, None)
        rows.append([task, metric, *values, with_interval(value, low, high, sign="+")])
        if difference and None not in difference:
            # A smaller RMSE is better, so its difference is negated: then right is better in every row.
            gain, *ends = difference if metric == "auc" else [-value for value in difference]
            bars.append(Bar(f"{task} {metric}", gain, *sorted(ends)))
    table = Table("Progressive figures", ("task", "metric", *ROLES, "student - control"), rows)
    caption = f"{name}: gain from distillation, right is better"
    drawings = [interval_chart(caption, bars)] if bars else []
    figures_by_span = {
        finished.span: finished.figures() for finished in finished_spans(paths, name) if not finished.skipped
    }
    for task, metric in headline_tasks(deployment.tasks).items():
        drawings += _span_charts(name, task, metric, figures_by_span)
    return Section(f"Surface {name}", tables=[table], drawings=drawings)


def _span_charts(surface: str, task: str, metric: str, figures_by_span: Mapping[int, Json]) -> list[Drawing]:
    """Quality of the three roles by span, and student minus control by span with its interval."""
    curves, bars = {}, {}
    for role in ROLES:
        points = [
            (span, value)
            for span, figures in figures_by_span.items()
            if (value := figures.get(task, {}).get(role, {}).get(metric)) is not None
        ]
        if points:
            spans, values = map(np.array, zip(*points, strict=True))
            curves[role] = (spans, values)
    for span, figures in figures_by_span.items():
        difference = figures.get(task, {}).get("difference", {}).get(metric)
        if difference and None not in difference:
            bars[span] = Bar(str(span), *difference)
    title = f"{surface}, {task}: {metric}"
    drawings = [line_chart(f"{title} by span", curves, x="span", y=metric)] if curves else []
    if bars:
        caption = f"{title}, student - control by span"
        drawings.append(span_chart(caption, bars, y="student - control"))
    return drawings


def _calibration_section(deployment: Deployment, paths: RunPaths) -> Section:
    """A calibration chart of the first immediate binary task for each surface, over all spans."""
    headlines = headline_tasks(deployment.tasks).items()
    task = next((task for task, metric in headlines if metric == "auc"), None)
    drawings = []
    for surface in deployment.surfaces if task else ():
        tables = [
            finished.fresh_predictions(deployment.tasks)
            for finished in finished_spans(paths, surface)
            if not finished.skipped
        ]
        if tables and task:
            drawing = _calibration_chart(surface, task, pa.concat_tables(tables))
            drawings += [drawing] if drawing else []
    text = "On the dashed line, the share of positives equals the prediction."
    return Section("Calibration", text, drawings=drawings)


def _calibration_chart(surface: str, task: str, table: pa.Table) -> Drawing | None:
    labels = float_column(table, LABEL_PREFIX + task)
    curves = {}
    for role in ROLES:
        predictions = float_column(table, f"{role}_{task}")
        where = ~np.isnan(labels) & ~np.isnan(predictions)
        if where.any():
            curves[role] = calibration_curve(labels[where], predictions[where])
    if not curves:
        return None
    return line_chart(f"{surface}, {task}", curves, x="prediction", y="share of positives", diagonal=True)


def _labels_section(deployment: Deployment, paths: RunPaths, summary: Json) -> Section:
    coverage = {}
    for surface in deployment.surfaces:
        reports = {
            finished.span: report
            for finished in finished_spans(paths, surface)
            if not finished.skipped and (report := finished.join_report())
        }
        if reports:
            # Without fresh rows the coverage is undefined.
            shares = [report.coverage if report.fresh_rows else np.nan for report in reports.values()]
            coverage[surface] = (np.array(list(reports)), np.array(shares))
    columns = {
        "set": "id", "span": "span", "rows": "rows", "lag, s": "lag_seconds", "age, spans": "age_spans",
    }  # fmt: skip
    # The store lists label sets by publication; after a backfill that is not the order of spans.
    label_sets = sorted(summary["label_sets"], key=lambda label_set: label_set["span"])
    rows = [[label_set[key] for key in columns.values()] for label_set in label_sets]
    drawings = [line_chart("Coverage", coverage, x="span", y="share labelled")] if coverage else []
    if rows:
        _, spans, _, lags, _ = map(np.array, zip(*rows, strict=True))
        caption = "Lag: from the examples to their labels"
        drawings.append(line_chart(caption, {"labels": (spans, lags.astype(float))}, x="span", y="seconds"))
    return Section("Labels", tables=[Table("Label sets", tuple(columns), rows)], drawings=drawings)


def _cost_section(summary: Json) -> Section:
    """Mean seconds of each step; a chart of the seconds per span and student by the number of students."""
    seconds = summary["seconds"]
    teacher = sum(seconds.get(step, 0.0) for step in ("Trainer_teacher", "SoftLabelBulkInferrer"))
    student, control = (
        [value for step, value in seconds.items() if step.startswith(f"Trainer_{role}_")]
        for role in ("student", "control")
    )
    table = Table("Mean seconds of each step of a span", ("step", "seconds"), list(seconds.items()))
    if not teacher or not student:
        return Section("Cost", tables=[table])
    sizes = np.array(FLEET_SIZES)
    mean_student = float(np.mean(student))
    curves = {"student and its share of the teacher": (sizes, mean_student + teacher / sizes)}
    if control:
        with_control = mean_student + float(np.mean(control))
        curves["with a control for each student"] = (sizes, with_control + teacher / sizes)
    caption = "Seconds per span and student, by number of students"
    return Section("Cost", tables=[table], drawings=[line_chart(caption, curves, x="students", y="seconds")])
