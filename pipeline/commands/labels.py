"""`rankdistill labels`: lists, checks, compares and deletes the label sets of a label store."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.options import FiniteRange

_SECONDS_PER_DAY = 24 * 3600


def _store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store", "uri", required=True, help="URI of the label store, such as delta:ROOT/labels."
    )(command)


@click.group()
def labels() -> None:
    """Manage a label store and its label sets."""


@labels.command()
@click.option(
    "--store",
    "uri",
    required=True,
    help="URI of the label store, such as bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX.",
)
def init(uri: str) -> None:
    """Create the dataset and the tables of a BigQuery store. Other stores need no tables."""
    from components.label_store.schemes import open_store

    tables = open_store(uri).initialize()
    for name in tables:
        click.echo(name)
    if not tables:
        click.echo("nothing to create: this kind of store needs no tables")


@labels.command()
@_store_option
def ls(uri: str) -> None:
    """List the published label sets, oldest first."""
    table = Table("set", "teacher", "span", "revision", "rows", "label age", box=None)
    for record in _open_existing(uri).list_sets():
        table.add_row(
            record.set_id,
            f"{record.key.teacher} {record.key.teacher_version}",
            str(record.key.span),
            str(record.revision),
            f"{record.rows:,}",
            f"{record.facts.label_age_spans} spans",
        )
    Console(soft_wrap=True, width=200).print(table)


@labels.command()
@_store_option
@click.argument("set_id")
def show(uri: str, set_id: str) -> None:
    """Print the record of label set SET_ID, as JSON: key, rows, checksum, facts about its teacher."""
    click.echo(json.dumps(dataclasses.asdict(_open_existing(uri).find_set(set_id)), indent=1))


@labels.command()
@_store_option
@click.argument("set_id")
def verify(uri: str, set_id: str) -> None:
    """Check the rows of label set SET_ID against its record; exit code 1 if they differ."""
    from components.label_store.base import DamagedSet
    from components.label_store.inspection import verify_set

    try:
        faults = verify_set(_open_existing(uri), set_id)
    except DamagedSet as error:
        faults = [str(error)]
    for fault in faults:
        click.echo(f"{set_id}: {fault}", err=True)
    if faults:
        sys.exit(1)
    click.echo(f"{set_id}: agrees with its record")


@labels.command()
@_store_option
@click.argument("first")
@click.argument("second")
def diff(uri: str, first: str, second: str) -> None:
    """Compare the labels of two label sets, given by their ids."""
    from components.label_store.inspection import diff_sets

    difference = diff_sets(_open_existing(uri), first, second)
    click.echo(
        f"examples: {difference.shared:,} in both, {difference.only_first:,} only in the first, "
        f"{difference.only_second:,} only in the second"
    )
    table = Table("task", "changed", "mean difference", "largest", box=None)
    for task in difference.tasks:
        table.add_row(task.task, f"{task.changed:,}", f"{task.mean:.6f}", f"{task.largest:.6f}")
    Console(soft_wrap=True).print(table)


@labels.command()
@_store_option
@click.option(
    "--grace-hours",
    type=FiniteRange(min=0),
    default=24.0,
    show_default=True,
    help="Minimum age of the unpublished attempts to delete, in hours.",
)
@click.option(
    "--retention-days",
    type=FiniteRange(min=0),
    default=None,
    help="Also delete published label sets older than this number of days, unless they are pinned. "
    "Default: delete none.",
)
@click.option("--dry-run", is_flag=True, help="Print the ids that would be deleted; delete nothing.")
def gc(uri: str, grace_hours: float, retention_days: float | None, dry_run: bool) -> None:
    """Delete unpublished attempts and, with --retention-days, old label sets that are not pinned."""
    store = _open_existing(uri)
    verb = "would remove" if dry_run else "removed"
    old: list[str] = []
    if retention_days is not None:
        retention_seconds = retention_days * _SECONDS_PER_DAY
        old = store.delete_unpinned(older_than_seconds=retention_seconds, dry_run=dry_run)
    for set_id in old:
        click.echo(f"{verb} old label set {set_id}")
    unpublished = store.delete_unpublished(older_than_seconds=grace_hours * 3600, dry_run=dry_run)
    for set_id in unpublished:
        click.echo(f"{verb} unpublished attempt {set_id}")
    if not old and not unpublished:
        click.echo("nothing to remove")


def _open_existing(uri: str) -> Any:
    """Opens a label store; refuses a Delta store that does not exist yet."""
    from components.label_store.schemes import open_store

    scheme, _, path = uri.partition(":")
    if scheme == "delta":
        from eventlog.errors import BadInput

        folder = Path(path.removeprefix("//"))
        if not (folder / "_delta_log").is_dir():
            raise BadInput(
                "no label store", where=f"--store {uri}", expected="a Delta table, with a folder _delta_log",
                got="a folder without it" if folder.is_dir() else "no such folder",
                fix="The store of a run is delta:ROOT/labels; it exists after the first span is labelled.",
            )  # fmt: skip
    return open_store(uri)
