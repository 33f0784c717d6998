"""`rankdistill config`: check a deployment's configuration against its schema and its event log."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from pipeline.commands.events import span_progress
from pipeline.commands.options import FILE, FOLDER
from pipeline.errors import print_error


@click.group()
def config() -> None:
    """Check a deployment's configuration."""


@config.command()
@click.argument("file", type=FILE)
@click.option(
    "--events",
    type=FOLDER,
    default=None,
    help="Also check every span of this event log. The burn-in spans must have rows and labels for the "
    "teacher and for each surface with a burn-in.",
)
def check(file: Path, events: Path | None) -> None:
    """Check FILE and print its first error, or a summary of the deployment.

    With --events, all faults of the log are printed, one line each; then the exit code is 2.

    The check also reads the schema and builds the feature transformation, without fitting it to data.
    """
    from components.event_schema import read_schema, with_history
    from pipeline.config_file import load_deployment

    deployment = load_deployment(file)
    with Console(stderr=True).status("importing TensorFlow"):
        from models.preprocessing import build_graph
    schema = with_history(read_schema(Path(deployment.schema)), deployment.history)
    build_graph(schema, deployment.features)
    if events is not None:
        from eventlog.spans import span_versions
        from pipeline.driver.log_checks import find_log_faults
        from pipeline.observation.surfaces import describe_shares, surfaces_without_student

        spans = span_versions(events)
        with span_progress(len(spans)) as on_span:
            faults = find_log_faults(deployment, events, on_span)
        for fault in faults:
            print_error(fault)
        if faults:
            raise click.exceptions.Exit(2)
        if shares := surfaces_without_student(deployment, events, spans):
            click.echo(f"surfaces of the event log without a student: {describe_shares(shares)}")
    click.echo(
        f"{file}: {deployment.name}, teacher {deployment.teacher.name!r} "
        f"of {len(deployment.teacher.tasks)} tasks; burn-in {deployment.burn_in}; "
        f"surfaces {', '.join(deployment.surfaces)}."
    )
