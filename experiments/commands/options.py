"""Options that several commands of the experiments share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import FILE

_DEFAULT_PROTOCOL = Path(__file__).parents[1] / "configs" / "kuairand.yaml"

_Command = Callable[..., Any]


def protocol_option(command: _Command) -> _Command:
    """`--config`: the experiment's protocol, as `config`."""
    return click.option(
        "--config", type=FILE, default=_DEFAULT_PROTOCOL, show_default="KuaiRand's", help="The protocol."
    )(command)


def processes_option(command: _Command) -> _Command:
    """`--processes`: how many trials run at the same time, as `processes`."""
    return click.option(
        "--processes", type=click.IntRange(min=1), default=2, show_default=True, help="Trials at once."
    )(command)
