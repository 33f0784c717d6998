"""The page: headings, tables and drawings in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from components.evaluation.report_page import Table
from experiments.report.drawings import Drawing

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
figure { margin: 0 0 1.5em 0 } figcaption { font-weight: bold; font-size: .9em }
svg { max-width: 100%; height: auto }
@media (max-width: 30em) { td, th { white-space: normal; padding: .2em .4em } table { font-size: .8em } }
@media print { body { max-width: none } h2, figure, table { break-inside: avoid } }
</style></head><body><h1>{{ title }}</h1><p class="lead">{{ lead }}</p>
{% for section in sections %}
<h2>{{ section.heading }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% for table in section.tables %}
<div class="wide"><table><caption>{{ table.caption }}</caption>
<thead><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ shown(cell) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% for drawing in section.drawings %}
<figure><figcaption>{{ drawing.caption }}</figcaption>{{ drawing.svg|safe }}</figure>
{% endfor %}
{% endfor %}
</body></html>
"""
)


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page's HTML; all text in it is escaped."""
    return _PAGE.render(title=title, lead=lead, sections=sections, shown=_shown)


def bounded(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """A number with its interval, or a dash."""
    if value is None:
        return "-"
    shown = f"{value:{sign}.4f}"
    return shown if low is None or high is None else f"{shown} [{low:{sign}.4f}, {high:{sign}.4f}]"


def _shown(cell: str | float | None) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.4g}" if isinstance(cell, float) else str(cell)
