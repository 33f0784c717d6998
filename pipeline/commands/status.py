"""`rankdistill status`: whether a root's loop runs, and how far its branches are."""

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

from eventlog.errors import BadInput
from pipeline.commands.options import FOLDER, config_option, events_option
from pipeline.paths import RunPaths

if TYPE_CHECKING:
    from pipeline.config import Deployment
    from pipeline.observation.decisions import Decision, Finished

_NOTHING = "-"


@click.command()
@config_option
@events_option
@click.option("--root", type=FOLDER, required=True, help="The root of the loop.")
@click.option(
    "--runs", type=click.IntRange(min=0), default=0, help="The last so many runs as well, from MLMD."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config_file: Path, events: Path, root: Path, runs: int, as_json: bool) -> None:
    """Tell whether a loop runs on ROOT, how far each branch is, and what a person should look at."""
    from pipeline.config_file import load_deployment

    if not root.is_dir():
        raise BadInput(
            "no run", where=f"--root {root}", expected="the root of a run", got="no such folder",
            fix="Name the folder that was given to `rankdistill run` or `serve-loop`.",
        )  # fmt: skip
    paths = RunPaths(root.resolve(), events.resolve())
    found = run_status(load_deployment(config_file), paths)
    if runs:
        from pipeline.observation.runs import list_runs

        found["runs"] = [dataclasses.asdict(run) for run in list_runs(paths, runs)]
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        console = Console(soft_wrap=True, width=200, highlight=False)
        console.print(_heading(found["loop"]), _table(found["branches"]))
        for figures in found["branches"].values():
            if (decision := figures["decision"]) is not None:
                console.print(escape("{branch}, span {span}: {what} {outcome}: {reason}".format(**decision)))
        if runs:
            console.print(_runs_table(found["runs"]))


def run_status(deployment: Deployment, paths: RunPaths) -> dict[str, Any]:
    """What the files under a root say; asks neither MLMD nor the label store, and disturbs no loop.

    Returns:
        JSON-ready: `loop` (`running`; `pid`, of the last one if none runs) and `branches.<branch>`:
        `last_span`, `seconds_since`, `next_span`, `spans_behind`, `last_push` (a span), `label_set`,
        `label_age_spans`, `unlearned` (role → spans its model has still to learn) and `decision`, the last
        one that a person should see. None where there is nothing yet.
    """
    from components.span_records import TEACHER
    from pipeline.observation.decisions import decisions, finished, read_beside

    records = {branch: finished(paths, branch) for branch in (TEACHER, *deployment.surfaces)}
    certificates = [read_beside(record, "labels", "certificate.json") for record in records[TEACHER]]
    ages = {each["set_id"]: each["label_age_spans"] for each in certificates if each is not None}
    made = decisions(deployment, paths, data=False)
    branches = {}
    for branch, of_branch in records.items():
        label_set = next(reversed(ages), None) if branch == TEACHER else _joined_set(of_branch)
        branches[branch] = {
            **_progress(deployment, paths, branch, of_branch),
            "label_set": label_set,
            # None where the teacher runs in another root.
            "label_age_spans": ages.get(label_set),
            **_decided([each for each in made if each.branch == branch]),
        }
    return {"loop": _loop(paths.root), "branches": branches}


def _progress(
    deployment: Deployment, paths: RunPaths, branch: str, records: Sequence[Finished]
) -> dict[str, Any]:
    from pipeline.observation.freshness import next_span, spans_behind

    following = next_span(deployment, branch, records)
    learnt = [record for record in records if not record.skipped]
    return {
        "last_span": records[-1].span if records else None,
        "seconds_since": round(time.time() - records[-1].time, 1) if records else None,
        "next_span": following,
        "spans_behind": spans_behind(paths, following),
        "unlearned": _unlearned(learnt[-1]) if learnt else {},
    }


def _decided(made: Sequence[Decision]) -> dict[str, Any]:
    pushes = [each.span for each in made if each.outcome == "pushed"]
    remarkable = [each for each in made if not each.is_ordinary]
    return {
        "last_push": pushes[-1] if pushes else None,
        "decision": dataclasses.asdict(remarkable[-1]) if remarkable else None,
    }


def _joined_set(records: Sequence[Finished]) -> str | None:
    """The set of the last span that a surface has joined with its own labels."""
    from pipeline.observation.decisions import read_beside

    for record in reversed(records):
        report = read_beside(record, "examples", "join_report.json")
        if report is not None and report["decision"] == "joined":
            return str(report["label_sets"][0])
    return None


def _unlearned(record: Finished) -> dict[str, list[int]]:
    from models.shard_names import SHARD_GLOB, parse_shard_name
    from models.state import UNLEARNED_FOLDER

    spans = {
        role: sorted(
            {
                parse_shard_name(shard.name).span
                for shard in Path(uri, UNLEARNED_FOLDER).glob(f"Split-*/{SHARD_GLOB}")
            }
        )
        for role in ("teacher", "student", "control")
        if (uri := record.slots.get(role)) is not None
    }
    return {role: waiting for role, waiting in spans.items() if waiting}


def _loop(root: Path) -> dict[str, Any]:
    """Whether a process holds `pipeline.driver.lock`'s lock, by trying it for an instant."""
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


def _table(branches: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(
        "branch", "last span", "ago", "next", "behind", "last push", "unlearned", "age", "label set", box=None
    )
    for branch, figures in branches.items():
        ago = figures["seconds_since"]
        unlearned = "; ".join(f"{role} {_spans(spans)}" for role, spans in figures["unlearned"].items())
        table.add_row(
            escape(branch),
            _shown(figures["last_span"]),
            _NOTHING if ago is None else _duration(ago),
            _shown(figures["next_span"]),
            _shown(figures["spans_behind"]),
            _shown(figures["last_push"]),
            unlearned or _NOTHING,
            _shown(figures["label_age_spans"]),
            _shown(figures["label_set"]),
        )
    return table


def _runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("run", "took", "steps", "not complete", "artifacts", box=None)
    for run in runs:
        table.add_row(
            escape(run["id"]),
            _duration(run["seconds"]),
            _counted(run["steps"]),
            ", ".join(run["failed"]) or _NOTHING,
            _counted(run["artifacts"]),
        )
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {escape(what)}" for what, number in counts.items()) or _NOTHING


def _shown(value: Any) -> str:
    return _NOTHING if value is None else str(value)


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _spans(spans: Sequence[int]) -> str:
    return ", ".join(map(str, spans))
