"""Draws the charts of the report pages as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Array = Any

BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#c8621b", "#2d7f4f", "#777777"
_LINE_STYLES = ("-", "--", ":")
COLOURS = (BLUE, ORANGE, GREEN, "#7a4fa3", "#a33b52")
"""Colours of the curves of a chart, in order."""
FLEET_SIZES = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of students for which the cost charts show the cost."""
_WIDTH_INCHES = 4.6


@dataclass(frozen=True)
class Drawing:
    """A caption and an `<svg>` element."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Bar:
    """A value with its interval `[low, high]`, for `interval_chart` and `span_chart`."""

    name: str
    value: float
    low: float
    high: float


def interval_chart(caption: str, bars: Sequence[Bar], *, lower_is_better: bool = False) -> Drawing:
    """Draws each value with its interval, and the line of 0.

    A bar is grey if its interval contains 0; else green if the value is better than 0, and orange if worse.

    Args:
        caption: the chart's caption.
        bars: the values to draw, from top to bottom.
        lower_is_better: whether negative values are better than 0.
    """
    figure, axes = _axes(0.8 + 0.3 * len(bars))
    for position, bar in enumerate(bars):
        colour = GREY if bar.low <= 0 <= bar.high else GREEN if (bar.value < 0) == lower_is_better else ORANGE
        axes.plot([bar.low, bar.high], [position, position], color=colour, linewidth=2)
        axes.plot(bar.value, position, "o", color=colour, markersize=5)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.invert_yaxis()
    return Drawing(caption, _svg(figure, caption))


def span_chart(caption: str, bars: Mapping[int, Bar], *, y: str) -> Drawing:
    """Draws one value per span with its interval, and the line of 0.

    Args:
        caption: the chart's caption.
        bars: span -> value to draw, with its interval; the names are not drawn.
        y: label of the vertical axis.
    """
    figure, axes = _axes(2.4)
    for span, bar in bars.items():
        axes.plot([span, span], [bar.low, bar.high], color=BLUE, linewidth=2)
    axes.plot(list(bars), [bar.value for bar in bars.values()], marker="o", markersize=5, color=BLUE)
    axes.axhline(0, color="#222222", linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("span")
    axes.set_ylabel(y)
    return Drawing(caption, _svg(figure, caption))


def line_chart(
    caption: str, curves: Mapping[str, tuple[Array, Array]], *, x: str, y: str, diagonal: bool = False
) -> Drawing:
    """Draws curves over the same axes.

    Args:
        caption: the chart's caption.
        curves: name -> (x, y), each `[points]`. After five curves, the colours repeat with another line
            style. If all x are integers, such as spans, all ticks of the axis are integers.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        diagonal: whether to draw the line x = y.
    """
    figure, axes = _axes(2.6)
    for index, (name, (xs, ys)) in enumerate(curves.items()):
        colour, style = COLOURS[index % len(COLOURS)], _LINE_STYLES[index // len(COLOURS) % len(_LINE_STYLES)]
        axes.plot(xs, ys, style, marker="o", markersize=3, color=colour, label=name)
    if diagonal:
        end = max(float(max(values)) for curve in curves.values() for values in curve)
        axes.plot([0, end], [0, end], color=GREY, linestyle="--", linewidth=1)
    if all(np.asarray(xs).dtype.kind in "iu" for xs, _ in curves.values()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8)
    return Drawing(caption, _svg(figure, caption))


def _axes(height_inches: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, caption: str) -> str:
    """Returns the `<svg>` element. Its ids depend on the caption, so that two drawings share no id."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": caption, "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
