"""`rankdistill events`: writes an event log from a table, KuaiRand, a simulator or BigQuery; checks logs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.commands.options import FILE, FOLDER, SPANS_HELP, TABLE_SOURCE, events_option, out_option
from pipeline.errors import print_error


@click.group()
def events() -> None:
    """Write or check an event log: one Parquet folder per span."""


@events.command()
@events_option
def check(events: Path) -> None:
    """Check every span of an event log, and that no span from 0 to the last one is missing.

    Prints the first fault of each span, and one line for all missing spans. If there is such a line, the
    exit code is 2.
    """
    from eventlog.checks import check_span
    from eventlog.errors import BadInput
    from eventlog.own_columns import own_columns
    from eventlog.spans import complete_spans, span_versions

    spans, is_faulty = span_versions(events), False
    columns = own_columns(events)
    with span_progress(len(spans)) as on_span:
        for span in spans:
            try:
                counts = check_span(events, span, columns[span])
                on_span(span, counts.total)
            except BadInput as fault:
                is_faulty = True
                print_error(fault)
                on_span(span, None)
    try:
        complete_spans(events)
    except BadInput as gap:
        is_faulty = True
        print_error(gap)
    if is_faulty:
        raise click.exceptions.Exit(2)
    click.echo(f"{events}: {len(spans)} spans without a fault")


@events.command()
@click.option(
    "--source", type=FOLDER, required=True, help="Folder of KuaiRand's CSV files (data/ in the data set)."
)
@out_option
def kuairand(source: Path, out: Path) -> None:
    """Convert the KuaiRand data set (Pure, 1K or 27K); each day becomes a span."""
    from eventlog.kuairand.adapter import write_kuairand

    with span_progress(None) as on_span:
        write_kuairand(source, out, on_span)


@events.command("import")
@click.option("--mapping", "mapping_file", type=FILE, required=True, help="YAML file of the mapping.")
@click.option(
    "--source",
    type=TABLE_SOURCE,
    required=True,
    help="File of the table (CSV, TSV, Parquet), folder with its files and its side tables, or "
    "bigquery:PROJECT.DATASET.TABLE. With ?where=CONDITION, only these rows of a BigQuery table are read.",
)
@out_option
def import_(mapping_file: Path, source: Path | str, out: Path) -> None:
    """Write those spans of a table that the log does not have yet. A mapping says what the columns mean.

    Prints the rows that were dropped, and why. If their share of a span is above the mapping's max_dropped,
    this span and later spans are not written, and the exit code is 2.
    """
    from eventlog.importing.importer import import_table
    from pipeline.commands.table_source import local_copy
    from pipeline.mapping_file import load_mapping

    mapping = load_mapping(mapping_file)
    with span_progress(None) as on_span, local_copy(source) as (local, _):
        spans = import_table(
            mapping,
            str(mapping_file),
            local,
            out,
            on_span,
            lambda report: click.echo("\n".join(report.lines())),
        )
    if spans:
        click.echo(f"{out}: wrote span {spans[0]}" + (f" to {spans[-1]}" if len(spans) > 1 else ""))


@events.command()
@click.option(
    "--spans", type=click.IntRange(1, 100_000), required=True, help="Number of spans in the finished log."
)
@click.option(
    "--examples-per-span", type=click.IntRange(1), required=True, help="Number of impressions in each span."
)
@click.option(
    "--seed", type=int, required=True, help="Seed of the simulator. The same options write the same log."
)
@out_option
def simulate(spans: int, examples_per_span: int, seed: int, out: Path) -> None:
    """Simulate an event log with KuaiRand's columns.

    OUT/_truth/ has the true expectation of every label.
    """
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
    "--table",
    required=True,
    help="PROJECT.DATASET.TABLE with the event log's columns and a column named span.",
)
@click.option("--spans", required=True, help=SPANS_HELP)
@out_option
def bigquery(uri: str, table: str, spans: str, out: Path) -> None:
    """Copy spans of impressions from a BigQuery table."""
    from components.event_store.event_table import EventTable
    from components.label_store.bigquery.location import parse_location
    from eventlog.spans import parse_range

    location = parse_location(_bigquery_part(uri))
    with span_progress(None) as on_span:
        EventTable(location, table).write_log(out, parse_range(spans), on_span)


def _bigquery_part(uri: str) -> str:
    """The part of a URI after `bigquery://`. Raises BadInput if the URI is not that of a BigQuery store."""
    from components.label_store.schemes import require_store_uri
    from eventlog.errors import BadInput

    require_store_uri(uri)
    scheme, _, location = uri.partition(":")
    if scheme != "bigquery":
        raise BadInput(
            "not a BigQuery store", where="--store", got=repr(uri),
            expected="a URI such as bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX",
            fix="Give the URI of a BigQuery label store.",
        )  # fmt: skip
    return location.removeprefix("//")


@contextlib.contextmanager
def span_progress(num_spans: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """Shows progress on standard error: a bar on a terminal, elsewhere a line per span.

    Args:
        num_spans: Number of spans; None if unknown.

    Yields:
        A function to call after each span, with the span and its number of rows (None for a faulty span).
    """
    console = Console(stderr=True, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("spans", total=num_spans)

        def on_span(span: int, rows: int | None) -> None:
            bar.advance(task)
            if not console.is_terminal:
                outcome = "faulty" if rows is None else f"{rows} rows"
                console.print(f"span {span}: {outcome}", highlight=False)

        yield on_span
