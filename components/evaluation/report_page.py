"""Renders a report as one self-contained HTML page of tables and charts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jinja2

from components.evaluation.drawings import Drawing

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
@media (max-width: 30em) { td, th { white-space: normal; padding: .2em } table { font-size: .75em } }
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
<tr>{% for cell in row %}<td>{{ format_cell(cell) }}</td>{% endfor %}</tr>
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
    """A table of texts and numbers; None is shown as a dash."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, a paragraph, tables and drawings, in this order; each part is optional."""

    heading: str = ""
    text: str = ""
    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()


def render(title: str, tables: Sequence[Table], drawings: Sequence[Drawing] = ()) -> str:
    """Renders a page of one section as HTML; escapes all text."""
    return render_sections(title, "", [Section(tables=tables, drawings=drawings)])


def render_sections(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Renders a page of several sections as HTML; escapes all text. `lead` is the text below the title."""
    return _PAGE.render(title=title, lead=lead, sections=sections, format_cell=_format_cell)


def with_interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str | None:
    """Formats a number with its interval, such as `+0.0111 [+0.0050, +0.0150]`; None if `value` is None."""
    if value is None:
        return None
    text = f"{value:{sign}.4f}"
    return text if low is None or high is None else f"{text} [{low:{sign}.4f}, {high:{sign}.4f}]"


def flat_figures(figures: Mapping[str, Mapping[str, Mapping[str, object]]]) -> dict[str, float]:
    """Returns progressive figures as `<task>_<metric>_<role>` -> number; omits intervals and differences."""
    return {
        f"{task}_{metric}_{role}": float(value)
        for task, roles in figures.items()
        for role, metrics in roles.items()
        for metric, value in metrics.items()
        if role != "difference" and isinstance(value, (int, float))
    }


def _format_cell(cell: str | float | None) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.4g}" if isinstance(cell, float) else str(cell)
