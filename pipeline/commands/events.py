"""`rankdistill events`: write an event log from KuaiRand, the simulator or BigQuery, or check one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.commands.options import FOLDER, SPANS, events_option, out_option


@click.group()
def events() -> None:
    """Write or check an event log: one Parquet folder per span."""


@events.command()
@events_option
def check(events: Path) -> None:
    """Check every span of an event log, whatever wrote it; print one line per faulty span."""
    from eventlog.checks import check_span
    from eventlog.errors import BadInput
    from eventlog.spans import complete_spans

    spans, num_faulty = complete_spans(events), 0
    with span_progress(len(spans)) as on_span:
        for span in spans:
            try:
                counts = check_span(events, span)
                on_span(span, counts.fresh + counts.matured)
            except BadInput as fault:
                num_faulty += 1
                click.echo(f"rankdistill: {fault}", err=True)
    if num_faulty:
        raise click.exceptions.Exit(2)
    click.echo(f"{events}: {len(spans)} spans without a fault")


@events.command()
@click.option("--source", type=FOLDER, required=True, help="Folder of KuaiRand's CSV files (its data/).")
@out_option
def kuairand(source: Path, out: Path) -> None:
    """Convert the KuaiRand data set (Pure, 1K or 27K); a span is a day."""
    from eventlog.kuairand import write_kuairand

    with span_progress(None) as on_span:
        write_kuairand(source, out, on_span)


@events.command()
@click.option("--spans", type=int, required=True, help="Number of spans to write.")
@click.option("--examples-per-span", type=int, required=True, help="Number of impressions in each span.")
@click.option("--seed", type=int, required=True, help="Seed; the same seed writes the same log.")
@out_option
def simulate(spans: int, examples_per_span: int, seed: int, out: Path) -> None:
    """Simulate an event log with KuaiRand's columns; the true response rates go to OUT/_truth/."""
    from eventlog.simulator import simulate as simulate_world

    with span_progress(spans) as on_span:
        simulate_world(out, spans, examples_per_span, seed, on_span)


@events.command()
@click.option(
    "--store",
    "uri",
    required=True,
    help="URI of a BigQuery label store. Only its project, location and endpoints are used.",
)
@click.option(
    "--table", required=True, help="PROJECT.DATASET.TABLE with the log's columns and the column span."
)
@click.option("--spans", required=True, help=SPANS)
@out_option
def bigquery(uri: str, table: str, spans: str, out: Path) -> None:
    """Copy spans of impressions from a BigQuery table."""
    from components.event_store.event_table import EventTable
    from components.label_store.bigquery.location import parse_location
    from eventlog.spans import parse_range

    location = parse_location(uri.removeprefix("bigquery://"))
    with span_progress(None) as on_span:
        EventTable(location, table).write_log(out, parse_range(spans), on_span)


class span_progress:  # noqa: N801 - used like a function, as contextlib's are
    """Shows progress: a bar on a terminal, elsewhere a line per span. Yields the function to call per span.

    Args:
        total: number of spans; None if unknown.
    """

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
