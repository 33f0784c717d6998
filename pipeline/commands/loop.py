"""`rankdistill run`, `serve-loop`, `fleet` and `backfill`: the commands that run or label spans."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline.commands.options import (
    FOLDER,
    PORT,
    SPANS_HELP,
    FiniteRange,
    config_option,
    events_option,
    require_root,
)
from pipeline.errors import exit_with
from pipeline.paths import RunPaths

if TYPE_CHECKING:
    from pipeline.config import Deployment
    from pipeline.driver.loop import Loop

_Command = Callable[..., Any]
_ROOT_HELP = "Folder of the run. The same folder resumes an earlier run."


def _deployment_options(root_help: str) -> Callable[[_Command], _Command]:
    def add_options(command: _Command) -> _Command:
        command = click.option(
            "--label-store",
            default=None,
            help="URI of the label store; replaces the one in the configuration.",
        )(command)
        command = click.option("--root", type=FOLDER, required=True, help=root_help)(command)
        return config_option(events_option(command))

    return add_options


@click.command()
@_deployment_options(_ROOT_HELP)
@click.option("--spans", default=None, help=f"{SPANS_HELP} Default: all spans of the log.")
def run(config_file: Path, events: Path, root: Path, label_store: str | None, spans: str | None) -> None:
    """Run the burn-in and every span that a branch has not finished, then print the summary.

    Spans run in order. To run a span means to label it, to train all models on it and to push the students
    that pass their checks.
    """
    from eventlog.spans import complete_spans, parse_range

    deployment = load_with_store(config_file, label_store)
    requested = parse_range(spans) if spans is not None else None
    if deployment.validation.late_after_spans is None and deployment.spans_table is None:
        # Refuses a log with a gap before any file is written. With `spans_table`, the loop first copies
        # missing # spans from BigQuery.
        complete_spans(events)
    console = Console(soft_wrap=True)
    with open_loop(deployment, RunPaths(root.resolve(), events.resolve()), console) as loop:
        done, errors = loop.catch_up(requested)
        _write_and_print_summary(loop, console, len(done))
    exit_with(errors.values())


@click.command("serve-loop")
@_deployment_options(_ROOT_HELP)
@click.option(
    "--branch",
    "branches",
    multiple=True,
    help="Branch to run: teacher, or the name of a surface; repeatable. Default: all branches.",
)
@click.option(
    "--teacher-root",
    type=FOLDER,
    default=None,
    help="Root of the teacher's loop, if this loop runs only surfaces (--branch). Only the transform graph "
    "is read from it. The labels come from the label store: give both loops the same --label-store.",
)
@click.option(
    "--poll-seconds",
    type=FiniteRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds between two reads of the log.",
)
@click.option("--until-caught-up", is_flag=True, help="Exit when no span is ready to run (useful with cron).")
@click.option(
    "--metrics-port",
    type=PORT,
    default=None,
    help="Port on which Prometheus reads the metrics. Default: no port.",
)
def serve_loop(
    config_file: Path,
    events: Path,
    root: Path,
    label_store: str | None,
    branches: tuple[str, ...],
    teacher_root: Path | None,
    poll_seconds: float,
    until_caught_up: bool,
    metrics_port: int | None,
) -> None:
    """Watch the event log and run every new span until stopped.

    To run a span means to label it, to train all models on it and to push the students that pass their
    checks. The command does not answer ranking requests. SIGTERM or Ctrl-C ends the command after the
    current step. After a kill at any moment, the next start continues from the interrupted step. Metrics are
    written to ROOT/metrics.prom.
    """
    deployment = load_with_store(config_file, label_store)
    _check_branches(deployment, branches, teacher_root)
    paths = RunPaths(root.resolve(), events.resolve(), teacher_root.resolve() if teacher_root else None)
    console = Console(soft_wrap=True)
    with open_loop(deployment, paths, console, branches) as loop:
        from pipeline.driver.serving_loop import run_until_stopped
        from pipeline.observation.metrics import serve_metrics

        if metrics_port is not None:
            serve_metrics(metrics_port, deployment, paths)
        num_done, errors = run_until_stopped(loop, poll_seconds, until_caught_up)
        if until_caught_up:
            _write_and_print_summary(loop, console, num_done)
            exit_with(errors.values())


@click.command()
@_deployment_options("Folder of an existing run.")
@click.option("--spans", required=True, help=SPANS_HELP)
@click.option(
    "--supersede", is_flag=True, help="Also label spans that have a label set. Each gets a new revision."
)
def backfill(
    config_file: Path, events: Path, root: Path, label_store: str | None, spans: str, supersede: bool
) -> None:
    """Label spans whose newest version has no label set.

    A span can lack a set after a revision, after a skip, or after `labels gc`. The teacher must have run or
    skipped the span. Each span is labelled by the latest teacher that has not trained on it. A fleet that has
    pinned a label set keeps it.
    """
    from eventlog.spans import parse_range

    deployment = load_with_store(config_file, label_store)
    requested = parse_range(spans)
    console = Console(soft_wrap=True)
    with open_loop(deployment, RunPaths(require_root(root), events.resolve()), console) as loop:
        labelled, refused = loop.backfill(requested, supersede)
    none = "none" if refused else "all have labels"
    console.print(f"{len(labelled)} spans labelled: {', '.join(map(str, labelled)) or none}")
    exit_with(refused.values())


@click.command()
@_deployment_options(_ROOT_HELP)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Maximum number of processes for the students; the teacher has a process of its own.",
)
@click.option(
    "--memory-gib",
    type=FiniteRange(min=0),
    default=12.0,
    show_default=True,
    help="Available memory in GiB; it limits the number of processes (2.5 GiB each).",
)
@click.option("--until-caught-up", is_flag=True, help="Exit when no span is ready to run (useful with cron).")
def fleet(
    config_file: Path,
    events: Path,
    root: Path,
    label_store: str | None,
    processes: int,
    memory_gib: float,
    until_caught_up: bool,
) -> None:
    """Run serve-loop in several processes: one for the teacher, the others for the students.

    The command supervises these processes and restarts a killed one. Each process has a folder and a log
    file under ROOT. All share the label store; the students also read the teacher's folder. With
    --until-caught-up the students start when the teacher has finished.
    """
    from pipeline.driver.fleet import plan_processes, run_fleet
    from pipeline.driver.signals import stop_on_signal

    deployment = load_with_store(config_file, label_store)
    members = plan_processes(deployment, processes, memory_gib)
    paths = RunPaths(root.resolve(), events.resolve())
    console = Console(soft_wrap=True)
    for member in members:
        console.print(f"{member.name}: {', '.join(member.branches)}")
    options = ["--config", str(config_file), "--events", str(paths.events)]
    options += ["--label-store", paths.label_store(deployment.label_store)]
    options += ["--until-caught-up"] if until_caught_up else []
    # Students that start together with the teacher would exit before it has labelled all spans.
    phases = [members[:1], members[1:]] if until_caught_up else [members]
    with stop_on_signal() as stop:
        for phase in phases:
            if stop.is_set():
                break
            exit_code = run_fleet(phase, paths.root, options, console.print, stop)
            if exit_code:
                raise click.exceptions.Exit(exit_code)


loop_commands = (run, serve_loop, fleet, backfill)


def load_with_store(config_file: Path, label_store: str | None) -> Deployment:
    """Reads a deployment; a given `label_store` replaces its label store.

    Raises:
        BadInput: see `load_deployment`; also if `label_store` is not the URI of a store.
    """
    from components.label_store.schemes import require_store_uri
    from pipeline.config_file import load_deployment

    deployment = load_deployment(config_file)
    if label_store is None:
        return deployment
    require_store_uri(label_store)
    return dataclasses.replace(deployment, label_store=label_store)


def _check_branches(deployment: Deployment, branches: tuple[str, ...], teacher_root: Path | None) -> None:
    known = ("teacher", *deployment.surfaces)
    unknown = [branch for branch in branches if branch not in known]
    if unknown:
        raise click.UsageError(f"--branch must be one of {', '.join(known)}, got {unknown[0]}.")
    if teacher_root is not None and (not branches or "teacher" in branches):
        raise click.UsageError(
            "--teacher-root is for a loop without the teacher; name its surfaces by --branch."
        )


@contextlib.contextmanager
def open_loop(
    deployment: Deployment, paths: RunPaths, console: Console, branches: tuple[str, ...] = ()
) -> Iterator[Loop]:
    """Yields the loop of a root and holds the root's lock until the block ends.

    Args:
        deployment: The configuration.
        paths: The paths of the run.
        console: Where the loop prints its progress.
        branches: The branches to run; empty for all.

    Raises:
        BadInput: if another process holds the lock. TFX is imported later, so that this check is fast.
    """
    from pipeline.driver.journal import open_journal
    from pipeline.driver.lock import exclusive_loop_lock

    with exclusive_loop_lock(paths.root):
        with console.status("importing TFX"):
            from pipeline.driver.loop import Loop
            from pipeline.driver.progress import Progress
        with open_journal(paths.journal) as journal:
            yield Loop(deployment, paths, Progress(console, journal), branches)


def _write_and_print_summary(loop: Loop, console: Console, num_done: int) -> None:
    from pipeline.observation.summary import summarize, write_summary
    from pipeline.observation.summary_table import render_summary

    with console.status("summarizing"):
        summary = summarize(loop.deployment, loop.paths)
        write_summary(summary, loop.paths.summary)
    console.print(render_summary(summary))
    console.print(f"{num_done} spans run by this command; all figures: {loop.paths.summary}")
