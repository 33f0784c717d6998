"""Tables of a run's summary for a terminal or a log, 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from components.evaluation.bootstrap import METRICS
from components.evaluation.predictions import ROLES
from models.tasks import Task
from pipeline.observation.decisions import Decision
from pipeline.observation.surfaces import describe_shares

_Json = Mapping[str, Any]

_NOTHING = "-"
_MARK = "*"
_MAX_DECISIONS = 20
_REPLAYED_SECONDS = 30 * 24 * 3600
"""Older events come from a replayed log; their age says nothing about the pipeline and is left out."""


def render_summary(summary: _Json) -> Group:
    """Tables of a run's summary: surfaces, unusual decisions, freshness, label sets, seconds per step.

    Args:
        summary: `spans` (list), `surfaces_without_student.<surface>` (share), `surfaces.<surface>.coverage`,
            `surfaces.<surface>.tasks.<task>.<role>.{auc | rmse, positives, examples}`,
            `….difference.{metric: [mean, low, high]}`, `decisions` (list of Decision's fields),
            `freshness.percentiles.<branch>.<stage>.{p50, p95}`, `label_sets` (list of id, span, teacher, rows
            and lag_seconds) and `seconds.<step>`. Figures may be null or absent; a role that no task of a
            surface has gets no column.

    Returns:
        A renderable of `rich`.
    """
    spans = summary["spans"]
    covered = f"spans {min(spans)} to {max(spans)}" if spans else "no spans"
    heading = f"Progressive figures, {covered}: AUC of binary tasks, RMSE of regressions"
    surfaces = [_surface(name, surface) for name, surface in summary["surfaces"].items()]
    note = f"{_MARK} the 95 % interval excludes 0; {_NOTHING} undefined, or no model yet"
    return Group(
        Text(heading),
        Text(),
        *surfaces,
        Text(note),
        *_without_student(summary["surfaces_without_student"]),
        Text(),
        _decisions(summary["decisions"]),
        Text(),
        _freshness(summary["freshness"]["percentiles"]),
        Text(),
        Text("label sets; the lag is from a span's examples to its published labels", style="bold"),
        _label_sets_table(summary["label_sets"]),
        Text(),
        _seconds_table(summary["seconds"]),
    )


def _without_student(shares: Mapping[str, float]) -> list[Text]:
    return [Text(f"surfaces of the event log without a student: {describe_shares(shares)}")] if shares else []


def headline_tasks(tasks: Mapping[str, Task]) -> dict[str, str]:
    """The first immediate binary task and the first immediate regression, each with its metric."""
    chosen: dict[str, str] = {}
    for name, task in tasks.items():
        metric = METRICS[task.kind][0]
        if not task.delayed and metric not in chosen.values():
            chosen[name] = metric
    return chosen


def render_headline(summary: _Json, tasks: Mapping[str, Task]) -> Group:
    """A short table: teacher, student and control on each surface, for `headline_tasks`.

    Args:
        summary: see `render_summary`.
        tasks: the deployment's tasks.

    Returns:
        A renderable of `rich`.
    """
    table = _table()
    table.add_column("", no_wrap=True)
    for role in ROLES:
        table.add_column(role, justify="right", no_wrap=True)
    table.add_column("student - control, 95 %", no_wrap=True)
    table.add_column("student", no_wrap=True)
    for surface, figures in summary["surfaces"].items():
        table.add_row(Text(surface, style="bold"))
        for task, metric in headline_tasks(tasks).items():
            roles = figures["tasks"].get(task, {})
            values = [_figure(roles.get(role, {}).get(metric)) for role in ROLES]
            verdict = _verdict(roles.get("difference", {}).get(metric), metric)
            difference = Text(_difference(roles, metric).rstrip(_MARK))
            table.add_row(Text(f"  {task} {metric.upper()}"), *values, difference, verdict)
    spans = summary["spans"]
    covered = f"spans {min(spans)} to {max(spans)}" if spans else "no spans"
    note = "AUC: higher is better. RMSE: lower is better. The intervals resample users."
    return Group(Text(), Text(f"Result, {covered}", style="bold"), table, Text(note))


def _verdict(difference: list[float | None] | None, metric: str) -> str:
    _, low, high = difference or (None, None, None)
    if low is None or high is None:
        return _NOTHING
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == (metric == "auc") else "worse"


def _surface(name: str, surface: _Json) -> Group:
    heading = Text(f"surface {name}: coverage {_percent(surface['coverage'])}", style="bold")
    return Group(heading, _surface_table(surface), Text())


def _surface_table(surface: _Json) -> Table:
    table = _table()
    table.add_column("task", no_wrap=True)
    tasks = surface["tasks"]
    roles = [role for role in ROLES if any(role in figures for figures in tasks.values())]
    for role in roles:
        table.add_column(role, justify="right", no_wrap=True)
    if "control" in roles:
        table.add_column("student - control", no_wrap=True)
    table.add_column("positives", justify="right", no_wrap=True)
    for task, figures in tasks.items():
        metric = "rmse" if any("rmse" in figures.get(role, {}) for role in roles) else "auc"
        values = [_figure(figures.get(role, {}).get(metric)) for role in roles]
        difference = [Text(_difference(figures, metric))] if "control" in roles else []
        table.add_row(Text(task), *values, *difference, _positives(figures))
    return table


def _decisions(decisions: list[_Json]) -> Group:
    unusual = [decision for decision in decisions if not Decision(**decision).is_routine]
    if not unusual:
        return Group(Text("decisions: all routine", style="bold"))
    shown = unusual[-_MAX_DECISIONS:]
    which = f"the last {len(shown)} of {len(unusual)}" if len(unusual) > len(shown) else f"all {len(shown)}"
    table = _table()
    table.add_column("span", justify="right")
    table.add_column("branch", no_wrap=True)
    table.add_column("decision")
    table.add_column("reason", overflow="fold")
    for decision in shown:
        outcome = Text(f"{decision['what']} {decision['outcome']}")
        table.add_row(str(decision["span"]), Text(decision["branch"]), outcome, Text(decision["reason"]))
    return Group(Text(f"unusual decisions, {which}", style="bold"), table)


def _freshness(percentiles: _Json) -> Group:
    lines = [Text("freshness, median / 95th percentile over spans", style="bold")]
    for branch, stages in percentiles.items():
        shown = (
            f"{stage.replace('_', ' ')} {_seconds(value['p50'])} / {_seconds(value['p95'])}"
            for stage, value in stages.items()
            if value["p50"] < _REPLAYED_SECONDS
        )
        lines.append(Text(f"{branch}: {', '.join(shown) or _NOTHING}"))
    return Group(*lines)


def _label_sets_table(label_sets: list[_Json]) -> Table:
    table = _table()
    table.add_column("span", justify="right")
    table.add_column("label set", overflow="fold")
    table.add_column("teacher", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("lag", justify="right", no_wrap=True)
    for label_set in label_sets:
        rows, lag = _number(label_set["rows"], ",d"), _seconds(label_set["lag_seconds"])
        names = [Text(str(label_set[key])) for key in ("span", "id", "teacher")]
        table.add_row(*names, rows, lag)
    return table


def _seconds_table(seconds: _Json) -> Table:
    table = _table()
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for step, mean in seconds.items():
        table.add_row(Text(step), _seconds(mean))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, collapse_padding=True)


def _difference(figures: _Json, metric: str) -> str:
    mean, low, high = figures.get("difference", {}).get(metric, (None, None, None))
    if mean is None:
        return _NOTHING
    if low is None or high is None:
        return _figure(mean, "+")
    mark = _MARK if low > 0 or high < 0 else ""
    return f"{_figure(mean, '+')} [{_figure(low, '+')},{_figure(high, '+')}]{mark}"


def _positives(figures: _Json) -> str:
    counts = [figures[role].get("positives") for role in ROLES if role in figures]
    return _number(next((count for count in counts if count is not None), None), ",d")


def _percent(share: float | None) -> str:
    return _NOTHING if share is None else f"{100 * share:.1f} %"


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.1f} s"


def _figure(value: float | None, sign: str = "") -> str:
    """Four decimals, or two from 10 on, so that a figure fits seven characters."""
    if value is None:
        return _NOTHING
    decimals = 4 if abs(value) < 10 else 2
    return format(value, f"{sign},.{decimals}f")


def _number(value: float | None, form: str) -> str:
    return _NOTHING if value is None else format(value, form)
