"""The command line: `rankdistill`.

Bad input ends in one line on standard error and exit code 2, never in a traceback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.labels_cli import labels
from pipeline.lineage_cli import lineage
from pipeline.loop_cli import loop_commands
from pipeline.refusal import run_or_refuse
from pipeline.status_cli import status

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX, Beam and TensorFlow log.")
def cli(verbose: bool) -> None:
    """Knowledge distillation for online ranking: one teacher, shared soft labels, a student per surface."""
    from pipeline.noise import quieten

    if not verbose:
        quieten()


for command in (labels, lineage, status, *loop_commands):
    cli.add_command(command)


@cli.group()
def events() -> None:
    """Write an impression log: spans of Parquet."""


@events.command()
@click.option("--source", type=_FOLDER, required=True, help="Folder with KuaiRand's CSV files (its data/).")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the log; complete spans are kept.")
def kuairand(source: Path, out: Path) -> None:
    """Convert KuaiRand (Pure, 1K or 27K); a span is a day."""
    from eventlog.kuairand import write_kuairand

    with _span_progress(None) as on_span:
        write_kuairand(source, out, on_span)


@events.command()
@click.option("--spans", type=int, required=True, help="Spans to have at the end.")
@click.option("--examples-per-span", type=int, required=True, help="Fresh rows of each span.")
@click.option("--seed", type=int, required=True, help="The same seed writes the same log.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the log; complete spans are kept.")
def simulate(spans: int, examples_per_span: int, seed: int, out: Path) -> None:
    """Simulate a world with known truth, in the same columns."""
    from eventlog.simulator import simulate as simulate_world

    with _span_progress(spans) as on_span:
        simulate_world(out, spans, examples_per_span, seed, on_span)


@events.command()
@click.option("--store", "uri", required=True, help="A BigQuery label store's URI: how BigQuery is reached.")
@click.option("--table", required=True, help="PROJECT.DATASET.TABLE with the log's columns and span.")
@click.option("--spans", required=True, help="A:B, both included.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the log; complete spans are kept.")
def bigquery(uri: str, table: str, spans: str, out: Path) -> None:
    """Read spans of impressions from a BigQuery table."""
    from components.event_store.event_table import EventTable
    from components.label_store.bigquery.location import parse_location
    from eventlog.spans import parse_range

    location = parse_location(uri.removeprefix("bigquery://"))
    with _span_progress(None) as on_span:
        EventTable(location, table).write_log(out, parse_range(spans), on_span)


@cli.group()
def config() -> None:
    """Look at a deployment's configuration."""


@config.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """Read FILE and say what is wrong with it, or what it deploys."""
    from pipeline.config import load

    deployment = load(file)
    click.echo(
        f"{file}: {deployment.name}, teacher {deployment.teacher.name!r} "
        f"of {len(deployment.teacher.tasks)} tasks; burn-in {deployment.burn_in}; "
        f"surfaces {', '.join(deployment.surfaces)}."
    )


def main() -> None:
    """The console script."""
    run_or_refuse("rankdistill", lambda: cli(standalone_mode=False))


class _span_progress:  # noqa: N801 - used like a function, as contextlib's are
    """A bar on a terminal, a line a span in a log; yields the callback that the sources call."""

    def __init__(self, total: int | None) -> None:
        self._console = Console(stderr=True, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("spans", total=total)

    def __enter__(self) -> Callable[[int, int], Any]:
        self._bar.start()
        return self._on_span

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _on_span(self, span: int, rows: int) -> None:
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            self._console.print(f"span {span}: {rows} rows", highlight=False)


if __name__ == "__main__":
    main()
