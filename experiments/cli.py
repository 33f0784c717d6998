"""`rankdistill experiment`, `online` and `advise`: what the experiments add to the command line."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from experiments.advice.cli import advise
from experiments.online.cli import online
from experiments.report.cli import report
from pipeline.cli import cli
from pipeline.refusal import run_or_refuse

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_NAMES = ("strategy", "size", "objectives", "stability", "label-age", "features")
_DEFAULT = Path(__file__).parent / "configs" / "kuairand.yaml"


@click.command()
@click.argument("name", type=click.Choice(_NAMES))
@click.option("--events", type=_FOLDER, required=True, help="Folder of the event log.")
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True, help="Runs of every arm.")
@click.option("--out", type=_FOLDER, required=True, help="Results, and what is needed to go on.")
@click.option("--cache", type=_FOLDER, help="What experiments on one log may share; the default is OUT.")
@click.option("--config", type=_FILE, default=_DEFAULT, show_default="KuaiRand's", help="The protocol.")
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True, help="Trials at once.")
@click.option("--per-surface", is_flag=True, help="A student a surface, in place of one for all.")
def experiment(
    name: str, events: Path, seeds: int, out: Path, cache: Path | None, config: Path, processes: int,
    per_surface: bool,
) -> None:  # fmt: skip
    """Run one of the paper's tables on an event log, against a tuned control and a placebo."""
    from experiments.progress import ExperimentProgress
    from experiments.running import run_experiment
    from experiments.settings import load

    protocol, deployment = load(config)
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        run_experiment(
            name, protocol, deployment, events, out, cache or out,
            seeds=seeds, processes=processes, per_surface=per_surface, progress=progress,
        )  # fmt: skip
    click.echo((out / "results.md").read_text())


for command in (advise, experiment, online, report):
    cli.add_command(command)


def main() -> None:
    """The console script."""
    run_or_refuse("rankdistill", lambda: cli(standalone_mode=False))


if __name__ == "__main__":
    main()
