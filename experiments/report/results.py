"""Results as they are kept: JSON and Parquet for programs, Markdown for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from experiments.statistics.comparison import BOTH, Row

RESULTS = "results.json"


def write_results(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Writes `results.parquet`, `results.md` and, last, `results.json`.

    Args:
        folder: where to.
        rows: what was found.
        about: the protocol and what was chosen, JSON-able.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [dataclasses.asdict(row) for row in rows]
    pq.write_table(pa.Table.from_pylist(found, schema=_SCHEMA), folder / "results.parquet")
    (folder / "results.md").write_text(markdown(rows, about))
    partial = folder / f".{RESULTS}"
    partial.write_text(json.dumps({"about": about, "rows": found}, indent=1))
    partial.replace(folder / RESULTS)


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Per surface one table of the arms' figures and one of differences; primary endpoints come first."""
    lines = [f"# {about['title']}", "", str(about["protocol"]), ""]
    primary = [row for row in rows if row.p_holm is not None]
    if primary:
        lines += ["## Primary comparisons, declared beforehand", ""]
        lines += _table(primary, ("surface", "task", "metric", "arm", "versus"), with_p=True)
    # An experiment that counts runs, like stability, has no other interval than that over its seeds.
    both = [row for row in rows if row.interval == BOTH] or list(rows)
    for surface in dict.fromkeys(row.surface for row in both):
        here = [row for row in both if row.surface == surface and row.metric != "calibration"]
        own = [row for row in here if not row.versus]
        lines += [f"## Surface {surface}: exploratory", ""]
        lines += _table(own, ("task", "metric", "arm"))
        lines += _table([row for row in here if row.versus], ("task", "metric", "arm", "versus"))
    lines += ["## What was chosen", "", *_choices(about["choices"])]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[Row], keys: Sequence[str], with_p: bool = False) -> list[str]:
    columns = [*keys, "value", "difference", *(["p (Holm)"] if with_p else []), "note"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [str(getattr(row, key)) for key in keys]
        cells.append(_with_bounds(row.mean, row.low, row.high))
        cells.append(_with_bounds(row.difference, row.difference_low, row.difference_high, sign="+"))
        if with_p:
            cells.append(f"{row.p_holm:.3f}")
        lines.append("| " + " | ".join([*cells, row.note]) + " |")
    return [*lines, ""]


def _with_bounds(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None:
        return ""
    shown = f"{value:{sign}.4f}"
    return shown if low is None or high is None else f"{shown} [{low:{sign}.4f}, {high:{sign}.4f}]"


def _choices(choices: Mapping[str, Any]) -> list[str]:
    lines = [
        "| arm | learning rate | passes | input dropout | soft weight | criterion | points not dominated |"
    ]
    lines.append("|" + " --- |" * 7)
    for arm, choice in choices.items():
        point = choice["point"]
        cells = [arm, point["learning_rate"], point["passes"], point["input_dropout"], point["soft_weight"]]
        cells += [f"{choice['criterion']:.4f}", len(choice["front"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


_TEXTS = ("experiment", "arm", "surface", "task", "metric", "versus", "interval", "note")
_COUNTS = ("seeds", "positives")
_SCHEMA = pa.schema(
    [
        (
            field.name,
            pa.string() if field.name in _TEXTS else pa.int64() if field.name in _COUNTS else pa.float64(),
        )
        for field in dataclasses.fields(Row)
    ]
)
