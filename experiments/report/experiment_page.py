"""An experiment's results as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.report_page import Table
from eventlog.errors import BadInput
from experiments.protocol.arms import CONTROL
from experiments.report.drawings import COLOURS, Bar, Drawing, intervals, lines
from experiments.report.page import Section, bounded, render
from experiments.report.paper import PAPER
from experiments.report.results import RESULTS
from experiments.statistics.comparison import BOTH

Json = Mapping[str, Any]

_RECOVERED = "gain_recovered_"
_SHOWN_METRICS = (
    *("auc", "rmse", f"{_RECOVERED}auc", f"{_RECOVERED}rmse"),
    *("divergence_rate", "leak", "leak_less_half"),
)
_FLEETS = (1, 2, 5, 10, 20, 50, 100)


def experiment_page(folder: Path) -> str:
    """The HTML of what `rankdistill experiment` left in a folder.

    Raises:
        BadInput: if there are no readable results.
    """
    try:
        document = json.loads((folder / RESULTS).read_text())
        about, rows = document["about"], document["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "no results", where=str(folder / RESULTS), expected="what `rankdistill experiment` has written",
            got=f"{type(error).__name__}: {error}", fix="Run the experiment, or name its --out.",
        ) from error  # fmt: skip
    shown = [row for row in rows if row["interval"] == BOTH or row["metric"] == "divergence_rate"]
    sections = [
        _primary(rows),
        *(_surface(shown, surface) for surface in dict.fromkeys(row["surface"] for row in shown)),
        _calibration(shown, about["curves"]),
        _cost(about.get("costs", {})),
        _choices(about["choices"]),
        _paper(rows),
    ]
    present = [section for section in sections if section.tables or section.drawings]
    return render(about["title"], about["protocol"], present)


def _primary(rows: Sequence[Json]) -> Section:
    primary = [row for row in rows if row["p_holm"] is not None]
    cells = [
        [row["surface"], row["task"], row["metric"], f"{row['arm']} - {row['versus']}", _difference(row),
         f"{row['p_holm']:.3f}"]
        for row in primary
    ]  # fmt: skip
    table = Table("Primary", ("surface", "task", "metric", "arms", "difference", "p (Holm)"), cells)
    text = "Declared before anything was run. All that follows is exploratory."
    return Section("What was claimed", text, [table] if primary else [])


def _surface(rows: Sequence[Json], surface: str) -> Section:
    """Per task and metric a table of arms and a drawing; comparisons without the control come last."""
    here = [row for row in rows if row["surface"] == surface and row["metric"] in _SHOWN_METRICS]
    measured = dict.fromkeys((row["task"], row["metric"]) for row in here)
    tables = [_arms(here, task, metric) for task, metric in measured if not metric.startswith(_RECOVERED)]
    others = [row for row in here if row["versus"] not in ("", CONTROL.name)]
    if others:
        cells = [[_arms_of(row), row["task"], row["metric"], _compared(row), row["note"]] for row in others]
        tables.append(Table("Other comparisons", ("arms", "task", "metric", "difference", "note"), cells))
    drawings = [_gains(here, surface, task, metric) for task, metric in measured]
    return Section(f"Surface {surface}", tables=tables, drawings=[each for each in drawings if each])


def _arms(rows: Sequence[Json], task: str, metric: str) -> Table:
    """What stands beside an arm's name on a narrow page comes first: what it gains over the control."""
    of_task = [row for row in rows if row["task"] == task]
    own = [row for row in of_task if row["metric"] == metric and not row["versus"]]
    gains = {row["arm"]: row for row in of_task if row["metric"] == metric and row["versus"] == CONTROL.name}
    shares = {row["arm"]: row for row in of_task if row["metric"] == f"{_RECOVERED}{metric}"}
    cells = [
        [
            row["arm"],
            _difference(gains[row["arm"]]) if row["arm"] in gains else "-",
            _own(row),
            _own(shares[row["arm"]]) if row["arm"] in shares else "-",
            row["note"],
        ]
        for row in own
    ]
    columns = ("arm", "less the control", metric, "share of the teacher's gain", "note")
    return Table(f"{task}, {metric}", columns, cells)


def _gains(rows: Sequence[Json], surface: str, task: str, metric: str) -> Drawing | None:
    bars = [
        Bar(
            f"{row['arm']} - {row['versus']}",
            row["difference"],
            row["difference_low"],
            row["difference_high"],
        )
        for row in rows
        if (row["task"], row["metric"]) == (task, metric)
        and row["difference_low"] is not None
        and not row["note"]
    ]
    caption = f"{surface}, {task}: difference of {metric}"
    return intervals(caption, bars, lower_is_better=metric == "rmse") if bars else None


def _calibration(rows: Sequence[Json], curves: Json) -> Section:
    found = [row for row in rows if row["metric"] == "calibration" and not row["versus"]]
    cells = [[row["arm"], row["surface"], row["task"], _own(row)] for row in found if not row["note"]]
    table = Table("Mean prediction over mean label", ("arm", "surface", "task", "calibration"), cells)
    drawings = [
        lines(
            f"{task}, all surfaces", dict(list(of_task.items())[: len(COLOURS)]),
            x="prediction", y="share of positives", diagonal=True,
        )
        for task, of_task in curves.items() if of_task
    ]  # fmt: skip
    text = "1 is unbiased; above 1 promises too much. On a dashed line a prediction is what happens."
    return Section("Calibration", text, [table] if cells else [], drawings)


def _cost(costs: Json) -> Section:
    if not costs:
        return Section("Cost")
    columns = ("arm", "seconds a course", "parameters", "multiply-adds x2 a row")
    cells = [
        [arm, cost["seconds"], cost["num_parameters"], cost["flops_per_row"]] for arm, cost in costs.items()
    ]
    drawings = []
    teachers = [arm for arm, cost in costs.items() if cost["is_teacher"]]
    students = [arm for arm, cost in costs.items() if not cost["is_teacher"] and arm != "control"]
    if teachers and students and "control" in costs:
        fleet = np.array(_FLEETS)
        student = costs[students[0]]["seconds"]
        curves = {
            arm: (fleet, student + costs[arm]["seconds"] / fleet) for arm in teachers[: len(_FLEETS) - 2]
        }
        curves["control"] = (fleet, np.full(len(fleet), costs["control"]["seconds"]))
        caption = "Seconds for each student and its share of the teacher, as the fleet grows"
        drawings.append(lines(caption, curves, x="students that share the teacher", y="seconds"))
    return Section("Cost", tables=[Table("Measured", columns, cells)], drawings=drawings)


def _choices(choices: Json) -> Section:
    cells = [[arm, *choice["point"].values(), choice["criterion"]] for arm, choice in choices.items()]
    columns = ("arm", "learning rate", "passes", "input dropout", "soft weight", "criterion")
    text = "On the tuning stretch alone, with equally many trials for every arm."
    return Section("What was chosen", text, [Table("Choices", columns, cells)] if cells else [])


def _paper(rows: Sequence[Json]) -> Section:
    names = dict.fromkeys(row["experiment"] for row in rows)
    return Section("The paper's figures", tables=[PAPER[name] for name in names if name in PAPER])


def _arms_of(row: Json) -> str:
    return f"{row['arm']} - {row['versus']}"


def _compared(row: Json) -> str:
    """A leak that is less than half of another arm's is one number of both."""
    return _own(row) if row["difference"] is None else _difference(row)


def _own(row: Json) -> str:
    return bounded(row["mean"], row["low"], row["high"])


def _difference(row: Json) -> str:
    return bounded(row["difference"], row["difference_low"], row["difference_high"], sign="+")
