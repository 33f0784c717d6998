"""The command `rankdistill`, with the subcommands of the pipeline and of the experiments.

Bad input prints one line on standard error and exits with code 2, without a traceback.
"""

from __future__ import annotations

import sys

from rankdistill.shadowing import refuse_shadowed_packages

try:
    refuse_shadowed_packages()
except ImportError as error:
    print(f"rankdistill: {error}", file=sys.stderr)
    sys.exit(2)

import click

from experiments.commands.advise import advise
from experiments.commands.experiment import experiment
from experiments.commands.online import online
from experiments.commands.report import report
from pipeline.commands.config import config
from pipeline.commands.demo import demo
from pipeline.commands.events import events
from pipeline.commands.init import init
from pipeline.commands.labels import labels
from pipeline.commands.lineage import lineage
from pipeline.commands.loop import loop_commands
from pipeline.commands.status import status
from pipeline.errors import exit_on_bad_input


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show the logs of TFX, Beam and TensorFlow.")
def cli(verbose: bool) -> None:
    """Train a teacher for online ranking, and one student per surface on the teacher's soft labels."""
    from pipeline.logging_setup import silence_other_packages

    if not verbose:
        silence_other_packages()


for command in (
    demo, init, events, config, *loop_commands, status, lineage, labels, experiment, online, advise, report,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Entry point of the `rankdistill` command."""
    exit_on_bad_input("rankdistill", lambda: cli(prog_name="rankdistill", standalone_mode=False))
