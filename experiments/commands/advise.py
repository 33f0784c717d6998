"""`rankdistill advise`: searches for the best distillation within a time budget."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from experiments.commands.options import processes_option, protocol_option
from pipeline.commands.options import FOLDER, FiniteRange, events_option


@click.command()
@events_option
@click.option(
    "--budget-minutes",
    type=FiniteRange(min=0),
    required=True,
    help="Time budget in minutes. The first round of the search and an evaluation with 3 seeds run even if "
    "they exceed it.",
)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Output folder for streams, trials and advice.json. recommended.yaml is also written if there is "
    "evidence that distillation helps. A rerun resumes.",
)
@protocol_option
@processes_option
def advise(events: Path, budget_minutes: float, out: Path, protocol_file: Path, processes: int) -> None:
    """Search for the distillation settings that improve the student most.

    The search compares teacher widths, tasks, strategies and weights. If there is no evidence that a
    distilled student is better than the control, the command recommends nothing.
    """
    from experiments.advice import advising
    from experiments.protocol.settings import deployment_file, load_protocol, require_spans
    from experiments.trials.loading import load_stream
    from experiments.trials.progress import ExperimentProgress
    from experiments.trials.scheduler import TrialScheduler

    protocol, deployment = load_protocol(protocol_file)
    stream = load_stream(deployment, events, out / "streams")
    with (
        ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress,
        TrialScheduler(stream, out / "trials", processes, progress.on_done) as scheduler,
    ):
        require_spans(protocol, int(scheduler.stream.spans.max()), events)
        advice = advising.advise(
            protocol, deployment, scheduler, budget_seconds=60 * budget_minutes, progress=progress
        )
    config = deployment_file(protocol_file, protocol)
    click.echo(advising.write_advice(advice, protocol, deployment, config, out))
