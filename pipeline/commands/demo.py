"""`rankdistill demo`: trains teacher, students and controls on this machine and compares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from pipeline.commands.events import span_progress
from pipeline.commands.loop import load_with_store, open_loop
from pipeline.commands.options import FOLDER
from pipeline.errors import exit_with

if TYPE_CHECKING:
    from pipeline.config import Deployment
    from pipeline.paths import RunPaths

_SPANS_AFTER_BURN_IN = "5:9"


@click.command()
@click.option(
    "--out", type=FOLDER, default=Path("runs/demo"), show_default=True,
    help="Folder for the impressions, the run and the page. The same folder resumes an earlier run.",
)  # fmt: skip
@click.option(
    "--kuairand", type=FOLDER, envvar="KUAIRAND_DIR",
    help="Folder of KuaiRand's CSV files (or KUAIRAND_DIR). Default: simulated impressions.",
)  # fmt: skip
@click.option(
    "--examples-per-span", type=click.IntRange(min=100), default=6_000, show_default=True,
    help="Number of simulated impressions per day (span).",
)  # fmt: skip
@click.option(
    "--label-store", default=None, help="URI of the label store. Default: a Delta store in OUT/root/labels."
)
def demo(out: Path, kuairand: Path | None, examples_per_span: int, label_store: str | None) -> None:
    """Train a teacher and its students day by day, and compare the students with their controls.

    The impressions are those of a short-video app, simulated or from KuaiRand. The demo takes five minutes
    on two cores. It writes events/ (the event log), root/ (the run) and page.html to OUT.
    """
    from eventlog.spans import parse_range
    from pipeline.paths import RunPaths

    config = Path(__file__).parents[1] / "configs" / ("kuairand.yaml" if kuairand else "demo.yaml")
    deployment = load_with_store(config, label_store)
    paths = RunPaths(root=(out / "root").resolve(), events=(out / "events").resolve())
    console = Console(soft_wrap=True)
    spans = parse_range(_SPANS_AFTER_BURN_IN)
    if kuairand is None:
        _simulate_events(paths.events, spans[-1] + 1, examples_per_span, console)
    else:
        _convert_kuairand(kuairand, paths.events, console)
    console.print(
        f"Training: the teacher (large, all surfaces) and a student (small) for each of "
        f"{', '.join(deployment.surfaces)}.\n"
        "Each day is scored before any model trains on it. A control is a student without teacher.",
        highlight=False,
    )
    with open_loop(deployment, paths, console) as loop:
        _, errors = loop.catch_up(spans)
        _show_result(deployment, paths, out, console)
    exit_with(errors.values())


def _show_result(deployment: Deployment, paths: RunPaths, out: Path, console: Console) -> None:
    """Writes the summary and the page, and prints the headline table."""
    from pipeline.observation.run_page import run_page
    from pipeline.observation.summary import summarize, write_summary
    from pipeline.observation.summary_table import render_headline

    with console.status("summarizing"):
        summary = summarize(deployment, paths)
        write_summary(summary, paths.summary)
        page = out / "page.html"
        page.write_text(run_page(deployment, paths, summary))
    console.print(render_headline(summary, deployment.tasks))
    console.print(f"The same with plots, in a browser: {page}", highlight=False)


def _simulate_events(events: Path, num_spans: int, examples_per_span: int, console: Console) -> None:
    from eventlog.simulator import simulate

    console.print(
        f"Impressions: simulated, {num_spans} days (spans) of {examples_per_span:,}. "
        "With --kuairand DIR: real ones.",
        highlight=False,
    )
    with span_progress(num_spans) as on_span:
        simulate(events, num_spans, examples_per_span, seed=1, on_span=on_span)


def _convert_kuairand(kuairand: Path, events: Path, console: Console) -> None:
    from eventlog.kuairand.adapter import write_kuairand

    console.print(f"Impressions: KuaiRand, from {kuairand}, a span a day", highlight=False)
    with span_progress(None) as on_span:
        write_kuairand(kuairand, events, on_span)
