"""`rankdistill advise`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFAULT = Path(__file__).parents[1] / "configs" / "kuairand.yaml"


@click.command()
@click.option("--events", type=_FOLDER, required=True, help="Folder of the event log.")
@click.option("--budget-minutes", type=click.FloatRange(min=0), required=True, help="To be spent.")
@click.option("--out", type=_FOLDER, required=True, help="The advice, and a configuration to run.")
@click.option("--config", type=_FILE, default=_DEFAULT, show_default="KuaiRand's", help="The protocol.")
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True, help="Trials at once.")
def advise(events: Path, budget_minutes: float, out: Path, config: Path, processes: int) -> None:
    """Find out which teacher, tasks, strategy and weight to use, and whether any helps."""
    from experiments.advice import advising
    from experiments.loading import load_stream
    from experiments.progress import ExperimentProgress
    from experiments.schedule import Schedule
    from experiments.settings import deployment_file, load

    experiment, deployment = load(config)
    stream = load_stream(deployment, events, out / "streams")
    with (
        ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress,
        Schedule(stream, out / "trials", processes, progress.on_done) as schedule,
    ):
        advice = advising.advise(
            experiment, deployment, schedule, budget_seconds=60 * budget_minutes, progress=progress
        )
    click.echo(advising.write_advice(advice, deployment, deployment_file(config, experiment), out))
