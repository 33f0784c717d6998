"""Separates bad input, which ends a program with one line, from program errors, which show a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from eventlog.errors import BadInput

_PREFIX = "eventlog.errors.BadInput: "
_BEAM_SUFFIX = " [while running"


def refusal(error: BaseException) -> BadInput | None:
    """Finds the BadInput among an error and its causes; None if there is none.

    Beam turns a worker's exception into text, so the messages are searched too.
    """
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, BadInput):
            return _without_beam_suffix(current)
        for line in str(current).splitlines():
            _, prefix, message = line.partition(_PREFIX)
            if prefix:
                return _without_beam_suffix(BadInput.quoted(message))
        current = current.__cause__ or current.__context__
    return None


def _without_beam_suffix(error: BadInput) -> BadInput:
    message, suffix, _ = str(error).partition(_BEAM_SUFFIX)
    return BadInput.quoted(message) if suffix else error


def run_or_refuse(name: str, program: Callable[[], Any]) -> None:
    """Runs a program. Bad input ends it with one line on standard error and exit code 2, without a traceback.

    Args:
        name: The program's name, printed before the message.
        program: Any callable, such as a click command with `standalone_mode=False`.
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
        bad_input = refusal(error)
        if bad_input is None:
            raise
        click.echo(f"{name}: {bad_input}", err=True)
        sys.exit(2)
