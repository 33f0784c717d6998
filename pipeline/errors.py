"""Separates bad input, which ends a program with one line, from program errors, which show a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from components.transforms.collecting import find_bad_input


def exit_on_bad_input(name: str, program: Callable[[], Any]) -> None:
    """Runs a program. Bad input and wrong options end it with one line on standard error and exit code 2.

    Args:
        name: The program's name, printed before the message.
        program: Any callable, such as a click command with `standalone_mode=False`.
    """
    try:
        program()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" Try `{context.command_path} --help`." if context is not None else ""
        click.echo(f"{name}: {' '.join(error.format_message().split())}{hint}", err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except Exception as error:
        bad_input = find_bad_input(error)
        if bad_input is None:
            raise
        click.echo(f"{name}: {bad_input}", err=True)
        sys.exit(2)
