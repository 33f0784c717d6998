"""`rankdistill report`."""

from __future__ import annotations

from pathlib import Path

import click

from eventlog.errors import BadInput
from pipeline.commands.options import FILE, FOLDER


@click.command()
@click.option("--experiment", type=FOLDER, help="What `rankdistill experiment` was given as --out.")
@click.option("--config", type=FILE, help="A run's deployment, with --events and --root.")
@click.option("--events", type=FOLDER, help="The run's event log.")
@click.option("--root", type=FOLDER, help="The run's root.")
@click.option("--out", type=FILE, required=True, help="The page, one HTML file.")
def report(
    experiment: Path | None, config: Path | None, events: Path | None, root: Path | None, out: Path
) -> None:
    """Write one self-contained page about an experiment or a run."""
    if experiment is not None and not (config or events or root):
        from experiments.report.experiment_page import experiment_page

        page = experiment_page(experiment)
    elif experiment is None and config and events and root:
        from experiments.report.run_page import run_page
        from pipeline.config_file import load_deployment
        from pipeline.paths import RunPaths

        page = run_page(load_deployment(config), RunPaths(root=root, events=events))
    else:
        raise BadInput(
            "what to report on", where="rankdistill report", fix="Give one of the two.",
            expected="--experiment, or --config, --events and --root", got="neither, or both",
        )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page)
    click.echo(f"{out}: {len(page) // 1024} KiB")
