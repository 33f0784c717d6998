"""`rankdistill init`: writes a first deployment for a table."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from rich.console import Console

from pipeline.commands.options import FOLDER, TABLE_SOURCE


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--from",
    "source",
    type=TABLE_SOURCE,
    required=True,
    help="A Parquet, CSV or TSV file (also .csv.gz), a folder of them, or bigquery:PROJECT.DATASET.TABLE. "
    "In a folder, the table with the most rows is the source. "
    "Another table becomes a side table if it shares a column with the source and each value of this column "
    "is in one of its rows.",
)
def init(folder: Path, source: Path | str) -> None:
    """Write a first deployment for a table into DIR.

    DIR gets mapping.yaml (what the columns mean), deployment.yaml, schema.pbtxt and protocol.yaml. Their
    contents are guesses from a sample, and comments say what was unsure. No file is overwritten.
    """
    from pipeline.commands.table_source import local_copy
    from pipeline.new_deployment.table_profile import MAX_SAMPLE_ROWS
    from pipeline.new_deployment.writing import write_first_deployment

    with (
        Console(stderr=True).status("reading a sample of the table"),
        local_copy(source, MAX_SAMPLE_ROWS) as (local, num_rows),
    ):
        first = write_first_deployment(folder, local, str(source), num_rows)
    roles = first.roles
    spans = f"by {first.spans.by}" if first.spans.by else f"of {first.spans.rows} rows"
    click.echo(
        f"{folder}: time {first.time.column}, user {roles.user.name}, "
        f"item {roles.item.name if roles.item else 'none'}, surfaces {', '.join(first.surfaces)}, "
        f"labels {', '.join(label.task for label in roles.labels)}, {len(roles.features)} features, "
        f"about {first.spans.num_spans} spans {spans}"
    )
    for note in first.unsure:
        click.echo(f"unsure: {note}")
    mapping, deployment, log, root, page, table = (
        shlex.quote(str(path))
        for path in (
            *(folder / name for name in ("mapping.yaml", "deployment.yaml", "events", "root", "page.html")),
            source,
        )
    )
    run = f"--config {deployment} --events {log} --root {root}"
    click.echo(
        "Read and correct the files, then:\n"
        f"  rankdistill events import --mapping {mapping} --source {table} --out {log}\n"
        f"  rankdistill config check {deployment} --events {log}\n"
        f"  rankdistill run {run}\n"
        f"  rankdistill report {run} --out {page}"
    )
