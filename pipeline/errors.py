"""Tells bad input from a broken program, whatever has wrapped it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from eventlog.errors import BadInput

_QUOTED = "eventlog.errors.BadInput: "


def refusal(error: BaseException) -> BadInput | None:
    """The BadInput behind an error, also if a Beam worker raised it and Beam made text of it; else None."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, BadInput):
            return _unwrapped(current)
        for line in str(current).splitlines():
            _, found, text = line.partition(_QUOTED)
            if found:
                return _unwrapped(BadInput.quoted(text))
        current = current.__cause__ or current.__context__
    return None


def _unwrapped(error: BadInput) -> BadInput:
    text, found, _ = str(error).partition(" [while running")
    return BadInput.quoted(text) if found else error


def run_or_refuse(name: str, program: Callable[[], Any]) -> None:
    """Runs a program; bad input is one line on standard error and exit code 2, never a traceback.

    Args:
        name: The program's, in front of the line.
        program: A click command with `standalone_mode=False`, or any other.
    """
    try:
        program()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        click.echo(f"{name}: {refused}", err=True)
        sys.exit(2)
