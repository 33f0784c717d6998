"""An experiment's results as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.report_page import Table
from eventlog.errors import BadInput
from experiments.comparison import BOTH
from experiments.report.drawings import Bar, Drawing, intervals, lines
from experiments.report.page import Section, bounded, render
from experiments.report.paper import PAPER
from experiments.results import RESULTS

Json = Mapping[str, Any]

_SHOWN_METRICS = ("auc", "rmse", "gain_recovered_auc", "gain_recovered_rmse", "divergence_rate", "leak")
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
        _calibration(shown),
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
    here = [row for row in rows if row["surface"] == surface and row["metric"] in _SHOWN_METRICS]
    own = [row for row in here if not row["versus"] or row["metric"].startswith("gain")]
    table = Table(
        "Every arm's own figures, 95 % intervals",
        ("arm", "task", "metric", "figure", "note"),
        [[row["arm"], row["task"], row["metric"], _own(row), row["note"]] for row in own],
    )
    compared = [row for row in here if row["versus"] and not row["metric"].startswith("gain")]
    differences = Table(
        "Differences, 95 % intervals",
        ("arms", "task", "metric", "difference", "note"),
        [
            [f"{row['arm']} - {row['versus']}", row["task"], row["metric"], _difference(row), row["note"]]
            for row in compared
        ],
    )
    drawings = [
        drawing
        for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in here if row["versus"])
        if (drawing := _gains(here, surface, task, metric)) is not None
    ]
    tables = [shown for shown in (table, differences) if shown.rows]
    return Section(f"Surface {surface}", tables=tables, drawings=drawings)


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
    return intervals(f"{surface}, {task}: difference of {metric}", bars) if bars else None


def _calibration(rows: Sequence[Json]) -> Section:
    found = [row for row in rows if row["metric"] == "calibration" and not row["versus"]]
    cells = [[row["arm"], row["surface"], row["task"], _own(row)] for row in found if not row["note"]]
    table = Table("Mean prediction over mean label", ("arm", "surface", "task", "calibration"), cells)
    return Section("Calibration", "1 is unbiased; above 1 promises too much.", [table] if cells else [])


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
    columns = ("arm", "learning rate", "passes", "dropout", "soft weight", "criterion")
    text = "On the tuning stretch alone, with equally many trials for every arm."
    return Section("What was chosen", text, [Table("Choices", columns, cells)] if cells else [])


def _paper(rows: Sequence[Json]) -> Section:
    names = dict.fromkeys(row["experiment"] for row in rows)
    return Section("The paper's figures", tables=[PAPER[name] for name in names if name in PAPER])


def _own(row: Json) -> str:
    return bounded(row["mean"], row["low"], row["high"])


def _difference(row: Json) -> str:
    return bounded(row["difference"], row["difference_low"], row["difference_high"], sign="+")
