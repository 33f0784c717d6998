"""`rankdistill labels`: what is in a label store, and keeping it tidy."""

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

_SECONDS_A_DAY = 24 * 3600


def _store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store", "uri", required=True, help="The label store's URI, such as delta:ROOT/labels."
    )(command)


@click.group()
def labels() -> None:
    """Look after the label store: make it, list, verify and compare sets, collect leftovers."""


@labels.command()
@_store_option
def init(uri: str) -> None:
    """Make what must be there before the first label (BigQuery: dataset and tables, with their expiry)."""
    made = _open(uri).initialize()
    for name in made:
        click.echo(name)
    if not made:
        click.echo("nothing to make: this kind of store makes itself")


@labels.command()
@_store_option
def ls(uri: str) -> None:
    """List the published sets, oldest first."""
    table = Table("set", "teacher", "span", "revision", "rows", "age of teacher", box=None)
    for record in _open(uri).list_sets():
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
    """Print everything known about a set, as JSON."""
    click.echo(json.dumps(dataclasses.asdict(_open(uri).find_set(set_id)), indent=1))


@labels.command()
@_store_option
@click.argument("set_id")
def verify(uri: str, set_id: str) -> None:
    """Count a set's rows and checksum again; exit code 1 if it is not what its record says."""
    from components.label_store.inspection import verify_set

    faults = verify_set(_open(uri), set_id)
    for fault in faults:
        click.echo(f"{set_id}: {fault}", err=True)
    if faults:
        sys.exit(1)
    click.echo(f"{set_id}: as its record says")


@labels.command()
@_store_option
@click.argument("first")
@click.argument("second")
def diff(uri: str, first: str, second: str) -> None:
    """Compare two sets, example by example."""
    from components.label_store.inspection import diff_sets

    difference = diff_sets(_open(uri), first, second)
    click.echo(
        f"examples: {difference.shared:,} in both, {difference.only_first:,} in the first alone, "
        f"{difference.only_second:,} in the second alone"
    )
    table = Table("task", "changed", "mean difference", "largest", box=None)
    for task in difference.tasks:
        table.add_row(task.task, f"{task.changed:,}", f"{task.mean:.6f}", f"{task.largest:.6f}")
    Console(soft_wrap=True).print(table)


@labels.command()
@_store_option
@click.option("--grace-hours", type=click.FloatRange(0), default=24.0, help="Younger leftovers stay.")
@click.option(
    "--retention-days", type=click.FloatRange(0), default=None, help="Older sets go, if not pinned."
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
def gc(uri: str, grace_hours: float, retention_days: float | None, dry_run: bool) -> None:
    """Remove what was never published, and sets past their retention; never a pinned set."""
    store = _open(uri)
    word = "would remove" if dry_run else "removed"
    if retention_days is not None:
        age = retention_days * _SECONDS_A_DAY
        for set_id in store.delete_expired(older_than_seconds=age, dry_run=dry_run):
            click.echo(f"{word} expired set {set_id}")
    for set_id in store.delete_unpublished(older_than_seconds=grace_hours * 3600, dry_run=dry_run):
        click.echo(f"{word} unpublished attempt {set_id}")


def _open(uri: str) -> Any:
    from components.label_store.schemes import open_store

    scheme, _, place = uri.partition(":")
    if scheme == "delta":
        from eventlog.errors import BadInput

        folder = Path(place.removeprefix("//"))
        if not folder.is_dir():
            raise BadInput(
                "no label store", where=f"--store {uri}", expected="the folder of a store",
                got="no such folder", fix="A run's store is ROOT/labels.",
            )  # fmt: skip
    return open_store(uri)
