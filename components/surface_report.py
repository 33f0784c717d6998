"""SurfaceReport: a page for Kubeflow's UI with a surface's progressive figures of one span."""

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
from components.evaluation.drawings import Drawing, line_chart
from components.evaluation.predictions import float_column, read_predictions
from components.evaluation.report_page import Table, flat_figures, render
from components.output_files import FIGURES_FILE, FRESH_FILE
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
    """Reports the span's progressive figures and coverage, and two curves per immediate binary task.

    A task has no curves if one of its classes has no row.

    Args:
        evaluated: Predictions, labels and figures of the span.
        joined: The surface's joined examples.
        blessing: Verdict on the student that trained on the span.
        report: The page.
        figures: `coverage`, and `<task>_<metric>_<role>`.
        roc: The student's ROC curve on the first binary task that is not delayed and has rows of both
            classes; empty without such a task.
        surface: The surface.
        span: The span.
        tasks: JSON of name → task.
    """
    tasks_by_name = from_json(dict[str, Task], tasks)
    progressive = json.loads(Path(evaluated.uri, FIGURES_FILE).read_text())
    coverage = joined.get_float_custom_property("coverage")
    set_figures(figures, {"coverage": coverage, **flat_figures(progressive)})
    drawings: list[Drawing] = []
    for name, task in tasks_by_name.items():
        if task.kind != "binary" or task.delayed:
            continue
        rows = _student_rows(evaluated.uri, tasks_by_name, name)
        if rows is None:
            continue
        curve = roc_curve(*rows)
        if not drawings:
            set_curve(roc, *curve)
        calibration = calibration_curve(*rows)
        drawings += [
            line_chart(
                f"{name}: ROC curve", {"student": curve[1:]}, x="false positive rate", y="recall",
                diagonal=True,
            ),
            line_chart(
                f"{name}: calibration", {"student": calibration}, x="prediction", y="share of positives",
                diagonal=True,
            ),
        ]  # fmt: skip
    title = f"{surface}, span {span}"
    write_page(report, render(title, _tables(progressive, coverage, joined, blessing), drawings))


def _student_rows(folder: str, tasks: dict[str, Task], name: str) -> tuple[Array, Array] | None:
    """Returns labels and the student's predictions of fresh rows; None unless both classes have rows."""
    table = read_predictions(Path(folder) / FRESH_FILE, tasks)
    labels, predictions = (float_column(table, column) for column in (LABEL_PREFIX + name, f"student_{name}"))
    where = ~np.isnan(labels) & ~np.isnan(predictions)
    positives = int((labels[where] > 0.5).sum())
    return (labels[where], predictions[where]) if 0 < positives < where.sum() else None


def _tables(progressive: dict, coverage: float, joined: Examples, blessing: ModelBlessing) -> list[Table]:
    rows = [
        [task, role, *(figures.get(column) for column in _COLUMNS)]
        for task, roles in progressive.items()
        for role, figures in roles.items()
        if role != "difference"
    ]
    decision = joined.get_string_custom_property("decision")
    reason = blessing.get_string_custom_property("reason")
    return [
        Table(
            "Span", ["coverage", "decision of the join", "student's verdict"], [[coverage, decision, reason]]
        ),
        Table("Progressive figures", ["task", "role", *_COLUMNS], rows),
    ]
