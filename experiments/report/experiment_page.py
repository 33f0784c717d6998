"""Renders the results of an experiment as an HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.drawings import COLOURS, FLEET_SIZES, Bar, Drawing, interval_chart, line_chart
from components.evaluation.report_page import Section, Table, render_sections, with_interval
from eventlog.errors import BadInput
from experiments.protocol.arms import CONTROL
from experiments.report.paper import PAPER_TABLES
from experiments.report.results import RESULTS
from experiments.statistics.comparison import USERS_AND_SEEDS

Json = Mapping[str, Any]

_RECOVERED_PREFIX = "gain_recovered_"
_SHOWN_METRICS = (
    "auc", "rmse", f"{_RECOVERED_PREFIX}auc", f"{_RECOVERED_PREFIX}rmse", "divergence_rate", "leak",
    "leak_less_half",
)  # fmt: skip


def experiment_page(folder: Path) -> str:
    """The HTML page of the results in a folder, the `--out` of `rankdistill experiment`.

    Raises:
        BadInput: if the folder has no readable results.
    """
    try:
        document = json.loads((folder / RESULTS).read_text())
        about, rows = document["about"], document["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "no results", where=str(folder / RESULTS), expected="results of `rankdistill experiment`",
            got=f"{type(error).__name__}: {error}",
            fix="Run the experiment, or give the folder that was its --out.",
        ) from error  # fmt: skip
    shown = [row for row in rows if row["interval"] == USERS_AND_SEEDS or row["metric"] == "divergence_rate"]
    sections = [
        _primary_section(rows),
        *(_surface_section(shown, surface) for surface in dict.fromkeys(row["surface"] for row in shown)),
        _calibration_section(shown, about["curves"]),
        _cost_section(about.get("costs", {})),
        _choices_section(about["choices"]),
        _paper_section(rows),
    ]
    sections = [section for section in sections if section.tables or section.drawings]
    return render_sections(about["title"], about["protocol"], sections)


def _primary_section(rows: Sequence[Json]) -> Section:
    cells = [
        [row["surface"], row["task"], row["metric"], _pair_text(row), _difference_text(row),
         f"{row['p_holm']:.3f}"]
        for row in rows
        if row["p_holm"] is not None
    ]  # fmt: skip
    table = Table("Primary", ("surface", "task", "metric", "arms", "difference", "p (Holm)"), cells)
    text = "Declared before the experiment ran. Everything below is exploratory."
    return Section("Primary comparisons", text, [table] if cells else [])


def _surface_section(rows: Sequence[Json], surface: str) -> Section:
    """A table of arms and a chart for each task and metric; a table of comparisons without the control."""
    rows = [row for row in rows if row["surface"] == surface and row["metric"] in _SHOWN_METRICS]
    measured = dict.fromkeys((row["task"], row["metric"]) for row in rows)
    tables = [
        _arm_table(rows, task, metric)
        for task, metric in measured
        if not metric.startswith(_RECOVERED_PREFIX)
    ]
    tables = [table for table in tables if table.rows]
    others = [row for row in rows if row["versus"] not in ("", CONTROL.name)]
    if others:
        # A row of `leak_less_half` compares two arms by its value and has no difference.
        cells = [
            [_pair_text(row), row["task"], row["metric"],
             _value_text(row) if row["difference"] is None else _difference_text(row), row["note"]]
            for row in others
        ]  # fmt: skip
        tables.append(Table("Other comparisons", ("arms", "task", "metric", "difference", "note"), cells))
    charts = [_difference_chart(rows, surface, task, metric) for task, metric in measured]
    return Section(f"Surface {surface}", tables=tables, drawings=[chart for chart in charts if chart])


def _arm_table(rows: Sequence[Json], task: str, metric: str) -> Table:
    """A table of arms. The difference to the control is the second column: narrow pages show two columns."""
    task_rows = [row for row in rows if row["task"] == task]
    metric_rows = [row for row in task_rows if row["metric"] == metric]
    differences = {row["arm"]: _difference_text(row) for row in metric_rows if row["versus"] == CONTROL.name}
    shares = {
        row["arm"]: _value_text(row) for row in task_rows if row["metric"] == f"{_RECOVERED_PREFIX}{metric}"
    }
    cells = [
        [row["arm"], differences.get(row["arm"]), _value_text(row), shares.get(row["arm"]), row["note"]]
        for row in metric_rows
        if not row["versus"]
    ]
    columns = ("arm", "minus the control", metric, "share of the teacher's gain", "note")
    return Table(f"{task}, {metric}", columns, cells)


def _difference_chart(rows: Sequence[Json], surface: str, task: str, metric: str) -> Drawing | None:
    bars = [
        Bar(_pair_text(row), row["difference"], row["difference_low"], row["difference_high"])
        for row in rows
        if (row["task"], row["metric"]) == (task, metric)
        and row["difference_low"] is not None
        and not row["note"]
    ]
    caption = f"{surface}, {task}: difference of {metric}"
    return interval_chart(caption, bars, lower_is_better=metric == "rmse") if bars else None


def _calibration_section(rows: Sequence[Json], curves: Json) -> Section:
    cells = [
        [row["arm"], row["surface"], row["task"], _value_text(row)]
        for row in rows
        if row["metric"] == "calibration" and not row["versus"] and not row["note"]
    ]
    table = Table("Mean prediction over mean label", ("arm", "surface", "task", "calibration"), cells)
    drawings = [
        line_chart(
            f"{task}, all surfaces", dict(list(curves_by_arm.items())[: len(COLOURS)]),
            x="prediction", y="share of positives", diagonal=True,
        )
        for task, curves_by_arm in curves.items() if curves_by_arm
    ]  # fmt: skip
    text = (
        "1 is unbiased; above 1, predictions are too high. "
        "On the dashed line, the share of positives equals the prediction."
    )
    return Section("Calibration", text, [table] if cells else [], drawings)


def _cost_section(costs: Json) -> Section:
    if not costs:
        return Section("Cost")
    columns = ("arm", "seconds per trial", "parameters", "FLOPs per row")
    cells = [
        [arm, cost["seconds"], cost["num_parameters"], cost["flops_per_row"]] for arm, cost in costs.items()
    ]
    drawings = []
    teachers = [arm for arm, cost in costs.items() if cost["is_teacher"]]
    students = [arm for arm, cost in costs.items() if not cost["is_teacher"] and arm != CONTROL.name]
    if teachers and students and CONTROL.name in costs:
        sizes = np.array(FLEET_SIZES)
        student = costs[students[0]]["seconds"]
        # Leaves one colour for the control.
        curves = {
            arm: (sizes, student + costs[arm]["seconds"] / sizes) for arm in teachers[: len(COLOURS) - 1]
        }
        curves[CONTROL.name] = (sizes, np.full(len(sizes), costs[CONTROL.name]["seconds"]))
        caption = "Seconds for a student and its share of the teacher, by number of students"
        drawings.append(line_chart(caption, curves, x="students that share the teacher", y="seconds"))
    return Section("Cost", tables=[Table("Measured", columns, cells)], drawings=drawings)


def _choices_section(choices: Json) -> Section:
    cells = [[arm, *choice["point"].values(), choice["criterion"]] for arm, choice in choices.items()]
    columns = ("arm", "learning rate", "passes", "input dropout", "soft weight", "criterion")
    text = "Chosen on the tuning spans only, with the same number of trials for every tuned arm."
    return Section("Chosen settings", text, [Table("Choices", columns, cells)] if cells else [])


def _paper_section(rows: Sequence[Json]) -> Section:
    names = dict.fromkeys(row["experiment"] for row in rows)
    return Section(
        "The paper's results", tables=[PAPER_TABLES[name] for name in names if name in PAPER_TABLES]
    )


def _pair_text(row: Json) -> str:
    return f"{row['arm']} - {row['versus']}"


def _value_text(row: Json) -> str | None:
    return with_interval(row["mean"], row["low"], row["high"])


def _difference_text(row: Json) -> str | None:
    return with_interval(row["difference"], row["difference_low"], row["difference_high"], sign="+")
