"""Options that several commands of the experiments share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import FILE

_DEFAULT_PROTOCOL = Path(__file__).parents[1] / "configs" / "kuairand.yaml"

_Command = Callable[..., Any]


def protocol_option(command: _Command) -> _Command:
    """Adds `--protocol`, the experiment's protocol, as argument `protocol_file`; `--config` is its alias."""

    @functools.wraps(command)
    def command_with_protocol(*, protocol_file: Path | None, config: Path | None, **options: Any) -> Any:
        if config is not None and protocol_file is not None:
            raise click.UsageError("--config is an alias of --protocol: give only one of them.")
        return command(protocol_file=config or protocol_file or _DEFAULT_PROTOCOL, **options)

    protocol = click.option(
        "--protocol", "protocol_file", type=FILE,
        help="YAML file of the protocol, which names the deployment.  [default: the protocol for KuaiRand]",
    )  # fmt: skip
    return protocol(
        click.option("--config", type=FILE, hidden=True, help="Alias of --protocol.")(command_with_protocol)
    )


def seeds_option(default: int) -> Callable[[_Command], _Command]:
    """Adds `--seeds`, the number of runs of every arm, as argument `seeds`."""
    return click.option(
        "--seeds", type=click.IntRange(min=2), default=default, show_default=True,
        help="Number of runs of every arm, each with its own seed.",
    )  # fmt: skip


def processes_option(command: _Command) -> _Command:
    """Adds `--processes`, the number of trials that run at the same time, as argument `processes`."""
    return click.option(
        "--processes", type=click.IntRange(min=1), default=2, show_default=True,
        help="Number of trials that run at the same time.",
    )(command)  # fmt: skip
