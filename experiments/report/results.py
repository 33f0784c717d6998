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


def write_results(folder: Path, rows: Sequence[ResultRow], about: Mapping[str, Any]) -> None:
    """Writes `results.parquet`, `results.md` and, last, `results.json`.

    Args:
        folder: created if it is missing.
        rows: the results.
        about: title, protocol, chosen settings, costs and calibration curves; JSON-ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row_dicts = [dataclasses.asdict(row) for row in rows]
    write_table(pa.Table.from_pylist(row_dicts, schema=_SCHEMA), folder / "results.parquet")
    (folder / "results.md").write_text(_markdown(rows, about))
    partial = folder / f".{RESULTS}"
    partial.write_text(json.dumps({"about": about, "rows": row_dicts}, indent=1))
    partial.replace(folder / RESULTS)


def _markdown(rows: Sequence[ResultRow], about: Mapping[str, Any]) -> str:
    """The primary comparisons, then for each surface a table of the arms and one of differences."""
    lines = [f"# {about['title']}", "", str(about["protocol"]), ""]
    primary = [row for row in rows if row.p_holm is not None]
    if primary:
        lines += ["## Primary comparisons, declared beforehand", ""]
        lines += _table(primary, ("surface", "task", "metric", "arm", "versus"), with_p=True)
    # `stability` counts runs, so its only interval is over seeds.
    shown = [row for row in rows if row.interval == USERS_AND_SEEDS] or list(rows)
    for surface in dict.fromkeys(row.surface for row in shown):
        surface_rows = [row for row in shown if row.surface == surface and row.metric != "calibration"]
        lines += [f"## Surface {surface}: exploratory", ""]
        lines += _table([row for row in surface_rows if not row.versus], ("task", "metric", "arm"))
        lines += _table([row for row in surface_rows if row.versus], ("task", "metric", "arm", "versus"))
    lines += ["## Chosen settings", "", *_choices(about["choices"])]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[ResultRow], keys: Sequence[str], with_p: bool = False) -> list[str]:
    lines = _header([*keys, "value", "difference", *(["p (Holm)"] if with_p else []), "note"])
    for row in rows:
        cells = [str(getattr(row, key)) for key in keys]
        cells.append(with_interval(row.mean, row.low, row.high) or "")
        cells.append(with_interval(row.difference, row.difference_low, row.difference_high, sign="+") or "")
        if with_p:
            cells.append(f"{row.p_holm:.3f}")
        lines.append("| " + " | ".join([*cells, row.note]) + " |")
    return [*lines, ""]


def _choices(choices: Mapping[str, Any]) -> list[str]:
    settings = ["learning rate", "passes", "input dropout", "soft weight"]
    lines = _header(["arm", *settings, "criterion", "points not dominated"])
    for arm, choice in choices.items():
        point = choice["point"]
        cells = [arm, point["learning_rate"], point["passes"], point["input_dropout"], point["soft_weight"]]
        cells += [f"{choice['criterion']:.4f}", len(choice["front"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _header(columns: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]


_TEXTS = ("experiment", "arm", "surface", "task", "metric", "versus", "interval", "note")
_COUNTS = ("seeds", "positives")
_SCHEMA = pa.schema(
    [
        (
            field.name,
            pa.string() if field.name in _TEXTS else pa.int64() if field.name in _COUNTS else pa.float64(),
        )
        for field in dataclasses.fields(ResultRow)
    ]
)
