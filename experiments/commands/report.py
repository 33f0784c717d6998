"""`rankdistill report`: writes an HTML page about an experiment or a run."""

from __future__ import annotations

from pathlib import Path

import click

from eventlog.errors import BadInput
from pipeline.commands.options import FILE, FOLDER, require_root


@click.command()
@click.option("--experiment", type=FOLDER, help="Output folder of `rankdistill experiment`.")
@click.option("--config", type=FILE, help="YAML file of a run's deployment. Also give --events and --root.")
@click.option("--events", type=FOLDER, help="Folder of the run's event log.")
@click.option("--root", type=FOLDER, help="Folder of the run.")
@click.option("--out", type=FILE, required=True, help="HTML file to write.")
def report(
    experiment: Path | None, config: Path | None, events: Path | None, root: Path | None, out: Path
) -> None:
    """Write a self-contained HTML page about an experiment or a run."""
    if experiment is not None and not (config or events or root):
        from experiments.report.experiment_page import experiment_page

        page = experiment_page(experiment)
    elif experiment is None and config and events and root:
        from pipeline.config_file import load_deployment
        from pipeline.driver.changed_settings import require_own_root
        from pipeline.observation.finished_spans import require_artifacts
        from pipeline.observation.run_page import run_page
        from pipeline.observation.summary import summarize
        from pipeline.paths import RunPaths

        paths = RunPaths(root=require_root(root), events=events.resolve())
        deployment = load_deployment(config)
        require_artifacts(paths)
        require_own_root(deployment, paths)
        summary = summarize(deployment, paths)
        if not summary["spans"]:
            click.echo("no span is finished yet: the page has no figures")
        page = run_page(deployment, paths, summary)
    else:
        options = {"--experiment": experiment, "--config": config, "--events": events, "--root": root}
        raise BadInput(
            "options of neither an experiment nor a run", where="rankdistill report",
            expected="--experiment, or --config, --events and --root",
            got=", ".join(name for name, value in options.items() if value) or "none of them",
            fix="Give the options of an experiment or of a run.",
        )  # fmt: skip
    _require_page(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page)
    click.echo(f"{out}: {len(page) // 1024} KiB")


def _require_page(out: Path) -> None:
    """Refuses to replace a file that is not an HTML page."""
    if out.is_file() and not out.read_bytes()[:100].lstrip().lower().startswith(b"<!doctype html"):
        raise BadInput(
            "a file that is not an HTML page", where=f"--out {out}",
            expected="a new file, or a page to replace", got="another file", fix="Give another name.",
        )  # fmt: skip
