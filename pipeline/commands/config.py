"""`rankdistill config`: look at a deployment's configuration."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import FILE


@click.group()
def config() -> None:
    """Check a deployment's configuration."""


@config.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check FILE and print its first error, or a summary of the deployment."""
    from pipeline.config_file import load_deployment

    deployment = load_deployment(file)
    click.echo(
        f"{file}: {deployment.name}, teacher {deployment.teacher.name!r} "
        f"of {len(deployment.teacher.tasks)} tasks; burn-in {deployment.burn_in}; "
        f"surfaces {', '.join(deployment.surfaces)}."
    )
