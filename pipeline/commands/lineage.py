"""`rankdistill lineage`: what a model has learnt, and from whom."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eventlog.errors import BadInput
from pipeline.commands.options import FOLDER

if TYPE_CHECKING:
    from pipeline.observation.lineage import Lineage


@click.command()
@click.argument("model", type=FOLDER)
@click.option("--root", type=FOLDER, default=None, help="The run's root. Default: the one MODEL lies under.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lineage(model: Path, root: Path | None, as_json: bool) -> None:
    """Tell what MODEL, a Model artifact's folder or a pushed version's, has learnt, and from whom."""
    from pipeline.observation.lineage import METADATA_FILE, find_root, model_lineage, open_metadata

    model = model.resolve()
    root = root or find_root(model)
    if root is None:
        raise BadInput(
            "no run's root above the model", where=str(model), expected=f"a folder with {METADATA_FILE}",
            got="none", fix="Give the run's root with --root.",
        )  # fmt: skip
    found = model_lineage(open_metadata(root), str(model))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        Console(soft_wrap=True, width=200).print(_table(found))


def _table(found: Lineage) -> Table:
    table = Table(box=None, show_header=False)
    for name, values in (
        ("model", [found.uri]),
        ("role", [f"{found.role} of {found.surface}" if found.surface else found.role]),
        ("trained on spans", [", ".join(_ranges(found.spans))]),
        ("in trainings", [str(found.trainings)]),
        ("teacher versions", found.teachers),
        ("label sets", found.label_sets),
        ("feature graph", [found.transform_graph]),
        ("schema", [found.schema]),
        ("hash of its job", [found.job]),
    ):
        table.add_row(name, escape("\n".join(values) or "none"))
    return table


def _ranges(spans: Sequence[int]) -> Iterable[str]:
    """Spans as the command line writes them: `A:B` for a run of them, both included."""
    first = None
    for here, after in zip(spans, [*spans[1:], None], strict=True):
        first = here if first is None else first
        if after != here + 1:
            yield str(here) if first == here else f"{first}:{here}"
            first = None
