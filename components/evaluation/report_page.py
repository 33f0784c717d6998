"""Renders a report as one self-contained HTML page: tables of figures, and curves drawn as SVG."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jinja2
import numpy as np

from components.evaluation.curves import Array

_SIDE = 220
"""Width and height of a drawing, in pixels."""

_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font-family: sans-serif; margin: 1.5em; color: #222 }
table { border-collapse: collapse; margin-bottom: 1.5em }
caption { text-align: left; font-weight: bold; padding-bottom: .3em }
th, td { border-bottom: 1px solid #ccc; padding: .2em .8em; text-align: right }
th:first-child, td:first-child { text-align: left }
figure { display: inline-block; margin: 0 1.5em 1.5em 0 }
svg { border-left: 1px solid #222; border-bottom: 1px solid #222 }
</style></head><body><h1>{{ title }}</h1>
{% for table in tables %}
<table><caption>{{ table.caption }}</caption>
<tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ shown(cell) }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endfor %}
{% for drawing in drawings %}
<figure><svg width="{{ side }}" height="{{ side }}" viewBox="0 0 {{ side }} {{ side }}" role="img">
<line x1="0" y1="{{ side }}" x2="{{ side }}" y2="0" stroke="#bbb" stroke-dasharray="4"/>
<polyline fill="none" stroke="#06c" stroke-width="2" points="{{ drawing.points(side) }}"/>
</svg><figcaption>{{ drawing.caption }}</figcaption></figure>
{% endfor %}
</body></html>
"""
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text and numbers; None shows as a dash."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A curve, drawn over the diagonal.

    Attributes:
        caption: Both quantities, and the range of the axes if it is not 0 to 1.
        x: `[points]`.
        y: `[points]`.
        end: Upper end of both axes, which begin at 0.
    """

    caption: str
    x: Array
    y: Array
    end: float = 1.0

    def points(self, side: int) -> str:
        """The points as SVG text, in a square of `side` pixels with y upward."""
        scaled = np.stack([self.x, self.y], axis=1) / self.end * side
        return " ".join(f"{x:.1f},{side - y:.1f}" for x, y in scaled)


def render(title: str, tables: Sequence[Table], drawings: Sequence[Drawing] = ()) -> str:
    """The page as HTML, with all text escaped."""
    return _PAGE.render(title=title, tables=tables, drawings=drawings, side=_SIDE, shown=_shown)


def flat_figures(figures: Mapping[str, Mapping[str, Mapping[str, object]]]) -> dict[str, float]:
    """The numbers among progressive figures as `<task>_<metric>_<role>`, for comparisons between runs."""
    return {
        f"{task}_{metric}_{role}": float(value)
        for task, roles in figures.items()
        for role, metrics in roles.items()
        for metric, value in metrics.items()
        if role != "difference" and isinstance(value, (int, float))
    }


def _shown(cell: str | float | None) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.4g}" if isinstance(cell, float) else str(cell)
