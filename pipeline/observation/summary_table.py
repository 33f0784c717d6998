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

_UNDEFINED = "-"
_SIGNIFICANT = "*"
_MAX_SHOWN_DECISIONS = 20
_MAX_LIVE_AGE_SECONDS = 30 * 24 * 3600
"""Older events come from a replayed log. Their age does not measure the pipeline, so it is left out."""


def render_summary(summary: _Json) -> Group:
    """Returns the tables: surfaces, decisions that a person should see, freshness, label sets, step seconds.

    Args:
        summary: `spans` (list), `surfaces_without_student.<surface>` (share), `surfaces.<surface>.coverage`,
            `surfaces.<surface>.tasks.<task>.<role>.{auc | rmse, positives, examples}`,
            `….difference.{metric: [value, low, high]}`, `decisions` (list of Decision's fields),
            `freshness.percentiles.<branch>.<stage>.{p50, p95}`, `label_sets` (list of id, span, teacher, rows
            and lag_seconds) and `seconds.<step>` (mean). Figures may be null or absent. A role without
            figures on a surface has no column.

    Returns:
        A renderable of `rich`.
    """
    spans = summary["spans"]
    span_range = f"spans {min(spans)} to {max(spans)}" if spans else "no spans"
    heading = f"Progressive figures, {span_range}: AUC of binary tasks, RMSE of regressions"
    surfaces = [_surface_group(name, surface) for name, surface in summary["surfaces"].items()]
    note = f"{_SIGNIFICANT} the 95 % interval excludes 0; {_UNDEFINED} undefined, or no model yet"
    return Group(
        Text(heading),
        Text(),
        *surfaces,
        Text(note),
        *_unnamed_surfaces_lines(summary["surfaces_without_student"]),
        Text(),
        _decision_table(summary["decisions"]),
        Text(),
        _freshness_lines(summary["freshness"]["percentiles"]),
        Text(),
        Text("label sets; the lag is from a span's complete examples to its complete labels", style="bold"),
        _label_sets_table(summary["label_sets"]),
        Text(),
        _seconds_table(summary["seconds"]),
    )


def _unnamed_surfaces_lines(shares: Mapping[str, float]) -> list[Text]:
    return [Text(f"surfaces of the event log without a student: {describe_shares(shares)}")] if shares else []


def headline_tasks(tasks: Mapping[str, Task]) -> dict[str, str]:
    """Returns the first immediate binary task and the first immediate regression: task -> metric."""
    chosen: dict[str, str] = {}
    for name, task in tasks.items():
        metric = METRICS[task.kind][0]
        if not task.delayed and metric not in chosen.values():
            chosen[name] = metric
    return chosen


def render_headline(summary: _Json, tasks: Mapping[str, Task]) -> Group:
    """Returns a short table: teacher, student and control on each surface, for `headline_tasks`.

    Args:
        summary: See `render_summary`.
        tasks: The deployment's tasks by name.

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
            values = [_format_figure(roles.get(role, {}).get(metric)) for role in ROLES]
            verdict = _verdict(roles.get("difference", {}).get(metric), metric)
            difference = Text(_format_difference(roles, metric).rstrip(_SIGNIFICANT))
            table.add_row(Text(f"  {task} {metric.upper()}"), *values, difference, verdict)
    spans = summary["spans"]
    span_range = f"spans {min(spans)} to {max(spans)}" if spans else "no spans"
    note = "AUC: higher is better. RMSE: lower is better. The intervals resample users."
    others = Text(f"The student on other tasks: {_other_verdicts(summary, tasks)}.")
    return Group(Text(), Text(f"Result, {span_range}", style="bold"), table, others, Text(note))


def _other_verdicts(summary: _Json, tasks: Mapping[str, Task]) -> str:
    """Counts the pairs of surface and task by verdict, without `headline_tasks`; names the worse pairs."""
    named: dict[str, list[str]] = {"better": [], "worse": [], "unclear": []}
    for surface, figures in summary["surfaces"].items():
        for task in figures["tasks"].keys() - headline_tasks(tasks).keys():
            differences = figures["tasks"][task].get("difference", {})
            metric = "rmse" if "rmse" in differences else "auc"
            named.get(_verdict(differences.get(metric), metric), []).append(f"{surface} {task}")
    worse = f" ({', '.join(sorted(named['worse']))})" if named["worse"] else ""
    return (
        f"{len(named['better'])} better, {len(named['worse'])} worse{worse}, {len(named['unclear'])} unclear"
    )


def _verdict(difference: list[float | None] | None, metric: str) -> str:
    _, low, high = difference or (None, None, None)
    if low is None or high is None:
        return _UNDEFINED
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == (metric == "auc") else "worse"


def _surface_group(name: str, surface: _Json) -> Group:
    heading = Text(f"surface {name}: coverage {_format_percent(surface['coverage'])}", style="bold")
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
        values = [_format_figure(figures.get(role, {}).get(metric)) for role in roles]
        difference = [Text(_format_difference(figures, metric))] if "control" in roles else []
        table.add_row(Text(task), *values, *difference, _format_positives(figures))
    return table


def _decision_table(decisions: list[_Json]) -> Group:
    notable = [decision for decision in decisions if not Decision(**decision).is_routine]
    if not notable:
        return Group(Text("decisions: all routine", style="bold"))
    shown = notable[-_MAX_SHOWN_DECISIONS:]
    part = f"the last {len(shown)} of {len(notable)}" if len(notable) > len(shown) else f"all {len(shown)}"
    table = _table()
    table.add_column("span", justify="right")
    table.add_column("branch", no_wrap=True)
    table.add_column("decision")
    table.add_column("reason", overflow="fold")
    for decision in shown:
        outcome = Text(f"{decision['what']} {decision['outcome']}")
        table.add_row(str(decision["span"]), Text(decision["branch"]), outcome, Text(decision["reason"]))
    return Group(Text(f"decisions that a person should see, {part}", style="bold"), table)


def _freshness_lines(percentiles: _Json) -> Group:
    lines = [Text("freshness, median / 95th percentile over spans", style="bold")]
    for branch, stages in percentiles.items():
        shown = (
            f"{stage.replace('_', ' ')} {_format_seconds(value['p50'])} / {_format_seconds(value['p95'])}"
            for stage, value in stages.items()
            if value["p50"] < _MAX_LIVE_AGE_SECONDS
        )
        lines.append(Text(f"{branch}: {', '.join(shown) or _UNDEFINED}"))
    return Group(*lines)


def _label_sets_table(label_sets: list[_Json]) -> Table:
    table = _table()
    table.add_column("span", justify="right")
    table.add_column("label set", overflow="fold")
    table.add_column("teacher", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("lag", justify="right", no_wrap=True)
    for label_set in label_sets:
        rows, lag = _format_count(label_set["rows"]), _format_seconds(label_set["lag_seconds"])
        names = [Text(str(label_set[key])) for key in ("span", "id", "teacher")]
        table.add_row(*names, rows, lag)
    return table


def _seconds_table(seconds: _Json) -> Table:
    table = _table()
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for step, mean in seconds.items():
        table.add_row(Text(step), _format_seconds(mean))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, collapse_padding=True)


def _format_difference(figures: _Json, metric: str) -> str:
    value, low, high = figures.get("difference", {}).get(metric, (None, None, None))
    if value is None:
        return _UNDEFINED
    if low is None or high is None:
        return _format_figure(value, "+")
    mark = _SIGNIFICANT if low > 0 or high < 0 else ""
    return f"{_format_figure(value, '+')} [{_format_figure(low, '+')},{_format_figure(high, '+')}]{mark}"


def _format_positives(figures: _Json) -> str:
    counts = [figures[role].get("positives") for role in ROLES if role in figures]
    return _format_count(next((count for count in counts if count is not None), None))


def _format_percent(share: float | None) -> str:
    return _UNDEFINED if share is None else f"{100 * share:.1f} %"


def _format_seconds(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:,.1f} s"


def _format_figure(value: float | None, sign: str = "") -> str:
    """A figure with four decimals, or with two if it is 10 or more, so that it fits in seven characters."""
    if value is None:
        return _UNDEFINED
    decimals = 4 if abs(value) < 10 else 2
    return format(value, f"{sign},.{decimals}f")


def _format_count(value: int | None) -> str:
    return _UNDEFINED if value is None else f"{value:,d}"
