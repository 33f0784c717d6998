"""SurfaceReport: how a surface's models did on a span that they had not seen, for Kubeflow's UI."""

import json
from pathlib import Path

import numpy as np
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, ModelBlessing

from components.artifacts import (
    ProgressiveFigures,
    SystemClassificationMetrics,
    SystemHtml,
    SystemMetrics,
)
from components.evaluation.curves import Array, calibration_curve, roc_curve
from components.evaluation.predictions import float_column, read_predictions
from components.evaluation.report_page import Drawing, Table, flat, render
from components.progressive_evaluator import FIGURES, FRESH
from components.ui_artifacts import set_curve, set_figures, write_page
from eventlog.rows import LABEL_PREFIX
from models.settings import from_json
from models.tasks import Task

_COLUMNS = ("auc", "rmse", "log_loss", "calibration", "examples", "positives")


@component
def SurfaceReport(
    evaluated: InputArtifact[ProgressiveFigures],
    joined: InputArtifact[Examples],
    blessing: InputArtifact[ModelBlessing],
    report: OutputArtifact[SystemHtml],
    figures: OutputArtifact[SystemMetrics],
    roc: OutputArtifact[SystemClassificationMetrics],
    surface: Parameter[str],
    span: Parameter[int],
    tasks: Parameter[str],
) -> None:
    """Reports the progressive figures of the span, the coverage of its labels, and two curves.

    Args:
        evaluated: The span's predictions beside their labels, and the figures.
        joined: The surface's joined examples.
        blessing: Of the student that learnt the span.
        report: A page.
        figures: `coverage`, and `<task>_<metric>_<role>`.
        roc: Of the student on the first immediate binary task; empty where there is none to draw.
        surface: The surface.
        span: The span.
        tasks: JSON of the tasks, by name.
    """
    by_name = from_json(dict[str, Task], tasks)
    found = json.loads(Path(evaluated.uri, FIGURES).read_text())
    coverage = joined.get_float_custom_property("coverage")
    set_figures(figures, {"coverage": coverage, **flat(found)})
    drawings: list[Drawing] = []
    for name, task in by_name.items():
        rows = _judged(evaluated.uri, by_name, name) if task.kind == "binary" and not task.delayed else None
        if rows is None:
            continue
        curve = roc_curve(*rows)
        if not drawings:
            set_curve(roc, *curve)
        predicted, observed = calibration_curve(*rows)
        end = float(max(predicted.max(), observed.max(), 1e-3))
        drawings += [
            Drawing(f"{name}: recall over false positive rate", curve[1], curve[2]),
            Drawing(f"{name}: share of positives over prediction, 0 to {end:.3g}", predicted, observed, end),
        ]
    title = f"{surface}, span {span}"
    write_page(report, render(title, _tables(found, coverage, joined, blessing), drawings))


def _judged(folder: str, tasks: dict[str, Task], name: str) -> tuple[Array, Array] | None:
    """Labels and the student's predictions of the fresh rows; None unless there are rows of both classes."""
    table = read_predictions(Path(folder) / FRESH, tasks)
    labels, predictions = (float_column(table, column) for column in (LABEL_PREFIX + name, f"student_{name}"))
    there = ~np.isnan(labels) & ~np.isnan(predictions)
    positives = int((labels[there] > 0.5).sum())
    return (labels[there], predictions[there]) if 0 < positives < there.sum() else None


def _tables(found: dict, coverage: float, joined: Examples, blessing: ModelBlessing) -> list[Table]:
    rows = [
        [task, role, *(figures.get(column) for column in _COLUMNS)]
        for task, roles in found.items()
        for role, figures in roles.items()
        if role != "difference"
    ]
    span = [
        [
            coverage,
            joined.get_string_custom_property("decision"),
            blessing.get_string_custom_property("reason"),
        ]
    ]
    return [
        Table("Span", ["label coverage", "labels", "student's verdict"], span),
        Table("Before learning the span", ["task", "role", *_COLUMNS], rows),
    ]
