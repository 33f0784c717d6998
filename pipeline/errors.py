"""Tells bad input from a broken program, whatever has wrapped it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from components.transforms.collecting import find_bad_input

refusal = find_bad_input


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
