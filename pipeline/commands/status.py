"""`rankdistill status`: whether a loop runs on a root, and the progress of its branches."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.commands.options import FOLDER, config_option, events_option, require_root
from pipeline.paths import RunPaths

if TYPE_CHECKING:
    from pipeline.config import Deployment
    from pipeline.observation.decisions import Decision
    from pipeline.observation.finished_spans import FinishedSpan

_NO_VALUE = "-"


@click.command()
@config_option
@events_option
@click.option("--root", type=FOLDER, required=True, help="Folder of the run.")
@click.option(
    "--runs",
    type=click.IntRange(min=0),
    default=0,
    help="Also show the last N pipeline runs from MLMD.",
    metavar="N",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config_file: Path, events: Path, root: Path, runs: int, as_json: bool) -> None:
    """Show whether a loop runs, and each branch's progress and last decision that a person should see.

    Such a decision is, for example, a skipped span or a discarded candidate.
    """
    from pipeline.config_file import load_deployment
    from pipeline.driver.changed_settings import require_own_root
    from pipeline.observation.finished_spans import require_artifacts

    paths = RunPaths(require_root(root), events.resolve())
    require_artifacts(paths)
    deployment = load_deployment(config_file)
    require_own_root(deployment, paths)
    state = run_status(deployment, paths)
    if runs:
        from pipeline.observation.runs import list_runs

        state["runs"] = [dataclasses.asdict(run) for run in list_runs(paths, runs)]
    if as_json:
        click.echo(json.dumps(state, indent=1))
    else:
        console = Console(soft_wrap=True, width=200, highlight=False)
        console.print(_heading(state["loop"]), _branches_table(state["branches"]))
        for values in state["branches"].values():
            if (decision := values["decision"]) is not None:
                console.print(escape("{branch}, span {span}: {what} {outcome}: {reason}".format(**decision)))
        if runs:
            console.print(_runs_table(state["runs"]))


def run_status(deployment: Deployment, paths: RunPaths) -> dict[str, Any]:
    """The loop and the branches of a run, from its root and event log, without MLMD or the label store.

    Returns:
        A mapping for JSON. `loop`: `running`, and `pid` of the current or last process. `branches.<branch>`:
        `last_span`, `seconds_since` (seconds since the end of `last_span`), `next_span`, `spans_behind`
        (complete spans of the log that are not finished), `last_push` (a span), `label_set` (the last set
        that the teacher published or the surface joined), `label_age_spans`, `deferred` (role → deferred
        spans) and `decision` (the last decision that a person should see). A missing value is None.
    """
    from components.span_records import TEACHER
    from pipeline.observation.decisions import decisions
    from pipeline.observation.finished_spans import finished_spans

    finished = {branch: finished_spans(paths, branch) for branch in (TEACHER, *deployment.surfaces)}
    certificates = [certificate for span in finished[TEACHER] if (certificate := span.certificate())]
    ages = {certificate.set_id: certificate.label_age_spans for certificate in certificates}
    all_decisions = decisions(deployment, paths, with_anomalies=False)
    branches = {}
    for branch, spans in finished.items():
        label_set = next(reversed(ages), None) if branch == TEACHER else _last_joined_set(spans)
        branches[branch] = {
            **_progress_values(deployment, paths, branch, spans),
            "label_set": label_set,
            # None if the teacher runs in another root.
            "label_age_spans": ages.get(label_set) if label_set is not None else None,
            **_decision_values([decision for decision in all_decisions if decision.branch == branch]),
        }
    return {"loop": _loop_state(paths.root), "branches": branches}


def _progress_values(
    deployment: Deployment, paths: RunPaths, branch: str, spans: Sequence[FinishedSpan]
) -> dict[str, Any]:
    from pipeline.observation.freshness import next_span, spans_behind

    span_to_run = next_span(deployment, branch, spans)
    not_skipped = [span for span in spans if not span.skipped]
    return {
        "last_span": spans[-1].span if spans else None,
        "seconds_since": round(time.time() - spans[-1].time, 1) if spans else None,
        "next_span": span_to_run,
        "spans_behind": spans_behind(paths, span_to_run),
        "deferred": _deferred_spans(not_skipped[-1]) if not_skipped else {},
    }


def _decision_values(decisions: Sequence[Decision]) -> dict[str, Any]:
    pushes = [decision.span for decision in decisions if decision.outcome == "pushed"]
    notable = [decision for decision in decisions if not decision.is_routine]
    return {
        "last_push": pushes[-1] if pushes else None,
        "decision": dataclasses.asdict(notable[-1]) if notable else None,
    }


def _last_joined_set(spans: Sequence[FinishedSpan]) -> str | None:
    """Returns the id of the label set of the last span that a surface joined with soft labels."""
    reports = (span.join_report() for span in reversed(spans))
    return next((report.label_sets[0] for report in reports if report and report.decision == "joined"), None)


def _deferred_spans(finished: FinishedSpan) -> dict[str, list[int]]:
    from components.evaluation.predictions import ROLES

    return {role: spans for role in ROLES if (spans := finished.deferred_spans(role))}


def _loop_state(root: Path) -> dict[str, Any]:
    """Returns whether a process holds the root's lock, and the process id of its current or last holder.

    To test a free lock, this function takes it for an instant; `pipeline.driver.lock` allows for this.
    """
    path = root / ".lock"
    if not path.is_file():
        return {"running": False, "pid": None}
    with path.open() as file:
        pid = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            running = False
        except OSError:
            running = True
    return {"running": running, "pid": int(pid) if pid else None}


def _heading(loop: Mapping[str, Any]) -> str:
    if loop["running"]:
        return f"a loop is running, process {loop['pid']}"
    return "no loop is running" + (f"; the last was process {loop['pid']}" if loop["pid"] else "")


def _branches_table(branches: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(
        "branch",
        "last span",
        "ago",
        "next",
        "behind",
        "last push",
        "deferred",
        "label age",
        "label set",
        box=None,
    )
    for branch, values in branches.items():
        ago = values["seconds_since"]
        deferred = "; ".join(
            f"{role} {', '.join(map(str, spans))}" for role, spans in values["deferred"].items()
        )
        table.add_row(
            escape(branch),
            _format_value(values["last_span"]),
            _NO_VALUE if ago is None else _format_duration(ago),
            _format_value(values["next_span"]),
            _format_value(values["spans_behind"]),
            _format_value(values["last_push"]),
            deferred or _NO_VALUE,
            _format_value(values["label_age_spans"]),
            _format_value(values["label_set"]),
        )
    return table


def _runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("run", "took", "steps", "not complete", "artifacts", box=None)
    for run in runs:
        table.add_row(
            escape(run["id"]),
            _format_duration(run["seconds"]),
            _format_counts(run["steps"]),
            ", ".join(run["failed"]) or _NO_VALUE,
            _format_counts(run["artifacts"]),
        )
    return table


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {escape(kind)}" for kind, number in counts.items()) or _NO_VALUE


def _format_value(value: Any) -> str:
    return _NO_VALUE if value is None else str(value)


def _format_duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
