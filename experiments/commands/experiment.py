"""`rankdistill experiment`: one of the paper's tables on an event log."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from experiments.commands.options import processes_option, protocol_option
from pipeline.commands.options import FOLDER, events_option

_NAMES = ("strategy", "size", "objectives", "stability", "label-age", "features")


@click.command()
@click.argument("name", type=click.Choice(_NAMES))
@events_option
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True, help="Runs of every arm.")
@click.option("--out", type=FOLDER, required=True, help="Results, and what is needed to go on.")
@click.option("--cache", type=FOLDER, help="What experiments on one log may share; the default is OUT.")
@protocol_option
@processes_option
@click.option("--per-surface", is_flag=True, help="A student a surface, in place of one for all.")
def experiment(
    name: str, events: Path, seeds: int, out: Path, cache: Path | None, config: Path, processes: int,
    per_surface: bool,
) -> None:  # fmt: skip
    """Run one of the paper's tables on an event log, against a tuned control and a placebo."""
    from experiments.protocol.settings import load_experiment
    from experiments.tables.running import run_experiment
    from experiments.trials.progress import ExperimentProgress

    protocol, deployment = load_experiment(config)
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        run_experiment(
            name, protocol, deployment, events, out, cache or out,
            seeds=seeds, processes=processes, per_surface=per_surface, progress=progress,
        )  # fmt: skip
    click.echo((out / "results.md").read_text())
