"""Options and argument types that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from eventlog.errors import BadInput
from eventlog.names import require_safe_path


class _SafePath(click.Path):
    """A local path without unsafe characters; see `require_safe_path`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See the base class.

        Raises:
            BadInput: if the path has an unsafe character, or is a URI.
        """
        require_safe_path(value, param.opts[0] if param else "path")
        return super().convert(value, param, ctx)


class _TableSource(_SafePath):
    """A local path as `Path`, or a BigQuery table as the text `bigquery:PROJECT.DATASET.TABLE`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See the base class.

        Raises:
            BadInput: if the path is unsafe.
        """
        is_table = isinstance(value, str) and value.startswith("bigquery:")
        return value if is_table else super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` that also refuses infinity and NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See the base class."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


FOLDER = _SafePath(path_type=Path, file_okay=False)
TABLE_SOURCE = _TableSource(path_type=Path)
FILE = _SafePath(path_type=Path, dir_okay=False)
PORT = click.IntRange(0, 65535)
SPANS_HELP = "First and last span, as A:B."

_FILES_OF_A_ROOT = ("records", "metadata.sqlite", "loop.jsonl", "deployment.json", ".lock")

_Command = Callable[..., Any]


def config_option(command: _Command) -> _Command:
    """Adds `--config`, the deployment's YAML file, as the parameter `config_file`."""
    return click.option(
        "--config", "config_file", type=FILE, required=True, help="YAML file of the deployment."
    )(command)


def events_option(command: _Command) -> _Command:
    """Adds `--events`, the folder of the event log, as the parameter `events`."""
    return click.option("--events", type=FOLDER, required=True, help="Folder of the event log.")(command)


def out_option(command: _Command) -> _Command:
    """Adds `--out`, the folder of the event log to write, as the parameter `out`."""
    return click.option(
        "--out",
        type=FOLDER,
        required=True,
        help="Folder of the event log to write. Complete spans in it are not written again.",
    )(command)


def require_root(root: Path) -> Path:
    """Returns the absolute path of a run's root.

    Raises:
        BadInput: if the folder does not exist, or is not the root of a run.
    """
    if not any((root / name).exists() for name in _FILES_OF_A_ROOT):
        got = "a folder without records of spans" if root.is_dir() else "no such folder"
        raise BadInput(
            "no run", where=f"--root {root}", expected="the root of a run", got=got,
            fix="Name the folder that `rankdistill run` or `serve-loop` uses as --root.",
        )  # fmt: skip
    return root.resolve()
