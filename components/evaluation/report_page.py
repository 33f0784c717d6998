"""Renders a report as one self-contained HTML page: tables of figures, and curves drawn as SVG."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import jinja2
import numpy as np

from components.evaluation.curves import Array

_SIDE = 220
"""Width and height of a drawing, in pixels."""

_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 62em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ccc }
p.lead { color: #555 }
div.wide { overflow-x: auto; margin-bottom: 1.5em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9em }
caption { text-align: left; font-weight: bold; padding-bottom: .3em; white-space: nowrap }
th, td { border-bottom: 1px solid #ddd; padding: .2em .7em; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
div.drawings { display: flex; flex-wrap: wrap; gap: 1.5em }
figure { margin: 0; max-width: 100% } figcaption { font-weight: bold; font-size: .9em }
svg { max-width: 100%; height: auto }
@media (max-width: 30em) { td, th { white-space: normal; padding: .2em .4em } table { font-size: .8em } }
@media print { body { max-width: none } h2, figure, table { break-inside: avoid } }
</style></head><body><h1>{{ title }}</h1>
{% if lead %}<p class="lead">{{ lead }}</p>{% endif %}
{% for section in sections %}
{% if section.heading %}<h2>{{ section.heading }}</h2>{% endif %}
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% for table in section.tables %}
<div class="wide"><table><caption>{{ table.caption }}</caption>
<thead><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ shown(cell) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
<div class="drawings">
{% for drawing in section.drawings %}
<figure><figcaption>{{ drawing.caption }}</figcaption>{{ drawing.svg|safe }}</figure>
{% endfor %}
</div>
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

    @property
    def svg(self) -> str:
        """The `<svg>` element."""
        return (
            f'<svg width="{_SIDE}" height="{_SIDE}" viewBox="0 0 {_SIDE} {_SIDE}" role="img"'
            ' style="border: solid #222; border-width: 0 0 1px 1px">'
            f'<line x1="0" y1="{_SIDE}" x2="{_SIDE}" y2="0" stroke="#bbb" stroke-dasharray="4"/>'
            f'<polyline fill="none" stroke="#06c" stroke-width="2" points="{self.points(_SIDE)}"/></svg>'
        )

    def points(self, side: int) -> str:
        """The points as SVG text, in a square of `side` pixels with y upward."""
        scaled = np.stack([self.x, self.y], axis=1) / self.end * side
        return " ".join(f"{x:.1f},{side - y:.1f}" for x, y in scaled)


class SvgDrawing(Protocol):
    """A drawing of any kind: its caption, and its `<svg>` element."""

    @property
    def caption(self) -> str: ...  # noqa: D102

    @property
    def svg(self) -> str: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, a paragraph, tables and drawings, in this order; each may be missing."""

    heading: str = ""
    text: str = ""
    tables: Sequence[Table] = ()
    drawings: Sequence[SvgDrawing] = ()


def render(title: str, tables: Sequence[Table], drawings: Sequence[Drawing] = ()) -> str:
    """A page of one section, as HTML with all text escaped."""
    return render_sections(title, "", [Section(tables=tables, drawings=drawings)])


def render_sections(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A page of several sections, as HTML with all text escaped; `lead` stands below the title."""
    return _PAGE.render(title=title, lead=lead, sections=sections, shown=_shown)


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
