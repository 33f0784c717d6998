"""What a page draws, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

Array = Any

BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#c8621b", "#2d7f4f", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#7a4fa3", "#a33b52")
_WIDTH = 6.4


@dataclass(frozen=True)
class Drawing:
    """A drawing and what it shows."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Bar:
    """A number with its interval, for `intervals`."""

    name: str
    value: float
    low: float
    high: float


def intervals(caption: str, bars: Sequence[Bar], *, lower_is_better: bool = False) -> Drawing:
    """Numbers under each other with their intervals; green is better than 0, orange worse, grey neither."""
    figure, axes = _axes(0.8 + 0.3 * len(bars))
    for place, bar in enumerate(bars):
        colour = GREY if bar.low <= 0 <= bar.high else GREEN if (bar.value < 0) == lower_is_better else ORANGE
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=2)
        axes.plot(bar.value, place, "o", color=colour, markersize=5)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.invert_yaxis()
    return Drawing(caption, _svg(figure, caption))


def lines(
    caption: str, curves: Mapping[str, tuple[Array, Array]], *, x: str, y: str, diagonal: bool = False
) -> Drawing:
    """Lines over each other.

    Args:
        caption: what is shown.
        curves: by name, `[points]` x and y.
        x: what the horizontal axis counts.
        y: what the vertical axis counts.
        diagonal: whether to draw where both are equal.
    """
    figure, axes = _axes(3.2)
    for (name, (along, up)), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(along, up, marker="o", markersize=3, color=colour, label=name)
    if diagonal:
        end = max(max(float(max(both)) for both in curve) for curve in curves.values())
        axes.plot([0, end], [0, end], color=GREY, linestyle="--", linewidth=1)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8)
    return Drawing(caption, _svg(figure, caption))


def _axes(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, caption: str) -> str:
    """The element alone; its ids depend on the caption, since one page holds many drawings."""
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": caption, "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
