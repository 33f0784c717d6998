"""`rankdistill lineage`: shows the spans, label sets and teachers from which a model was trained."""

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
@click.option(
    "--root", type=FOLDER, default=None, help="Folder of the run. Default: the root that contains MODEL."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lineage(model: Path, root: Path | None, as_json: bool) -> None:
    """Show the spans, label sets and teachers from which MODEL was trained.

    Also show the model's transform graph and schema, and the hash of its training settings.

    MODEL is the folder of a Model artifact or of a pushed model.
    """
    from pipeline.observation.lineage import METADATA_FILE, find_root, model_lineage, open_metadata

    model = model.resolve()
    root = root or find_root(model)
    if root is None:
        raise BadInput(
            "the model is in no run's root", where=str(model), got="none",
            expected=f"a parent folder with {METADATA_FILE}", fix="Give the run's root with --root.",
        )  # fmt: skip
    history = model_lineage(open_metadata(root), str(model))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(history), indent=1))
    else:
        Console(soft_wrap=True, width=200).print(_table(history))


def _table(history: Lineage) -> Table:
    table = Table(box=None, show_header=False)
    for name, values in (
        ("model", [history.uri]),
        ("role", [f"{history.role} of {history.surface}" if history.surface else history.role]),
        ("trained on spans", [", ".join(_ranges(history.spans))]),
        ("trainings", [str(history.trainings)]),
        ("teacher versions", history.teachers),
        ("label sets", history.label_sets),
        ("transform graph", [history.transform_graph]),
        ("schema", [history.schema]),
        ("job hash", [history.job]),
    ):
        table.add_row(name, escape("\n".join(values) or "none"))
    return table


def _ranges(spans: Sequence[int]) -> Iterable[str]:
    """Yields the spans as ranges: `A:B` for consecutive spans, `A` for a single one."""
    first = None
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        first = span if first is None else first
        if following != span + 1:
            yield str(span) if first == span else f"{first}:{span}"
            first = None
