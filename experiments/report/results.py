"""Writes the results of an experiment as JSON, Parquet and Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.evaluation.report_page import with_interval
from eventlog.parquet_files import write_table
from experiments.statistics.comparison import USERS_AND_SEEDS, ResultRow

RESULTS = "results.json"
"""Name of the file with all results. It is written last, so it marks the results as complete."""


def write_results(folder: Path, rows: Sequence[ResultRow], about: Mapping[str, Any]) -> None:
    """Writes `results.parquet`, `results.md` and, last, `results.json`.

    Args:
        folder: the folder; it is created if it does not exist.
        rows: the results.
        about: title, protocol, chosen settings, costs and calibration curves; values that JSON can store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row_dicts = [dataclasses.asdict(row) for row in rows]
    write_table(pa.Table.from_pylist(row_dicts, schema=_SCHEMA), folder / "results.parquet")
    (folder / "results.md").write_text(_markdown(rows, about))
    partial = folder / f".{RESULTS}"
    partial.write_text(json.dumps({"about": about, "rows": row_dicts}, indent=1))
    partial.replace(folder / RESULTS)


def _markdown(rows: Sequence[ResultRow], about: Mapping[str, Any]) -> str:
    """The primary comparisons, then for each surface a table of arms and a table of differences."""
    lines = [f"# {about['title']}", "", str(about["protocol"]), ""]
    primary = [row for row in rows if row.p_holm is not None]
    if primary:
        lines += ["## Primary comparisons, declared beforehand", ""]
        lines += _table_lines(primary, ("surface", "task", "metric", "arm", "versus"), with_p_value=True)
    # `stability` has no intervals over users, so all its rows are shown.
    shown = [row for row in rows if row.interval == USERS_AND_SEEDS] or list(rows)
    for surface in dict.fromkeys(row.surface for row in shown):
        surface_rows = [row for row in shown if row.surface == surface and row.metric != "calibration"]
        lines += [f"## Surface {surface}: exploratory", ""]
        lines += _table_lines([row for row in surface_rows if not row.versus], ("task", "metric", "arm"))
        lines += _table_lines(
            [row for row in surface_rows if row.versus], ("task", "metric", "arm", "versus")
        )
    lines += ["## Chosen settings", "", *_choice_lines(about["choices"])]
    return "\n".join(lines) + "\n"


def _table_lines(rows: Iterable[ResultRow], keys: Sequence[str], with_p_value: bool = False) -> list[str]:
    lines = _header_lines([*keys, "value", "difference", *(["p (Holm)"] if with_p_value else []), "note"])
    for row in rows:
        cells = [str(getattr(row, key)) for key in keys]
        cells.append(with_interval(row.mean, row.low, row.high) or "")
        cells.append(with_interval(row.difference, row.difference_low, row.difference_high, sign="+") or "")
        if with_p_value:
            cells.append(f"{row.p_holm:.3f}")
        lines.append("| " + " | ".join([*cells, row.note]) + " |")
    return [*lines, ""]


def _choice_lines(choices: Mapping[str, Any]) -> list[str]:
    settings = ["learning rate", "passes", "input dropout", "soft weight"]
    lines = _header_lines(["arm", *settings, "criterion", "points not dominated"])
    for arm, choice in choices.items():
        point = choice["point"]
        cells = [arm, point["learning_rate"], point["passes"], point["input_dropout"], point["soft_weight"]]
        cells += [f"{choice['criterion']:.4f}", len(choice["front"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _header_lines(columns: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]


_TEXT_COLUMNS = ("experiment", "arm", "surface", "task", "metric", "versus", "interval", "note")
_COUNT_COLUMNS = ("seeds", "positives")
_COLUMN_TYPES = dict.fromkeys(_TEXT_COLUMNS, pa.string()) | dict.fromkeys(_COUNT_COLUMNS, pa.int64())
_SCHEMA = pa.schema(
    [(field.name, _COLUMN_TYPES.get(field.name, pa.float64())) for field in dataclasses.fields(ResultRow)]
)
