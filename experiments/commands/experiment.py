"""`rankdistill experiment`: runs one of the paper's experiments on an event log."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from experiments.commands.options import processes_option, protocol_option, seeds_option
from pipeline.commands.options import FOLDER, events_option

_NAMES = ("strategy", "size", "objectives", "stability", "label-age", "features")


@click.command()
@click.argument("name", type=click.Choice(_NAMES))
@events_option
@seeds_option(default=10)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder for the results; without --cache, also for streams and trials. A rerun resumes.",
)
@click.option(
    "--cache",
    type=FOLDER,
    help="Folder for streams and trials. Several experiments can share it.  [default: OUT]",
)
@protocol_option
@processes_option
@click.option("--per-surface", is_flag=True, help="Train a student for each surface instead of one for all.")
def experiment(
    name: str, events: Path, seeds: int, out: Path, cache: Path | None, protocol_file: Path, processes: int,
    per_surface: bool,
) -> None:  # fmt: skip
    """Run one of the paper's experiments on an event log.

    \b
    strategy    direct and auxiliary distillation, compared with a control and placebos
    size        teachers of 1, 2, 4 and 8 times the student's width
    objectives  students that distil different tasks
    stability   divergence rates of teachers with no, one or all stabilisers (warm-up, activation clip,
                Clippy)
    label-age   soft labels of a teacher that has not seen the last 0 to 3 spans before the labelled span
    features    a teacher, and three variants of it: without history features, a separate one for each
                surface, with the student's width
    """
    from experiments.protocol.settings import load_protocol
    from experiments.tables.running import run_experiment
    from experiments.trials.progress import ExperimentProgress

    protocol, deployment = load_protocol(protocol_file)
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        run_experiment(
            name, protocol, deployment, events, out, cache or out,
            seeds=seeds, processes=processes, per_surface=per_surface, progress=progress,
        )  # fmt: skip
    click.echo((out / "results.md").read_text())
