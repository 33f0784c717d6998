"""Separates bad input, which ends a program with one line, from program errors, which show a traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import click

from components.transforms.collecting import find_bad_input
from eventlog.errors import BadInput

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_FULL = ("database or disk is full", "disk I/O error")
_PATH = re.compile(r"(?<!\w)/[^\s'\",;:]+")
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def exit_on_bad_input(name: str, program: Callable[[], Any]) -> None:
    """Runs a program. Bad input, wrong options, refused paths and full disks end it with one line on standard
    error and exit code 2.

    Args:
        name: The program's name, printed before the message.
        program: Any callable, such as a click command with `standalone_mode=False`.
    """
    try:
        # Click returns the code of `Exit` if it is not in standalone mode.
        status = program()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" Try `{context.command_path} --help`." if context is not None else ""
        click.echo(f"{name}: {' '.join(error.format_message().split())}{hint}", err=True)
        sys.exit(2)
    except click.Abort:
        click.echo(f"{name}: interrupted; the same command resumes", err=True)
        sys.exit(130)
    except Exception as error:
        line = find_bad_input(error) or _find_file_system_error(error)
        if line is None:
            raise
        click.echo(f"{name}: {line}", err=True)
        sys.exit(2)
    if isinstance(status, int) and status:
        sys.exit(status)


def _find_file_system_error(error: BaseException) -> BadInput | None:
    """The cause of an error, if the file system refused a path or is full."""
    link: BaseException | None = error
    while link is not None:
        code = link.errno if isinstance(link, OSError) else None
        if code in _REFUSALS or code in _FULL:
            return _file_system_error(str(getattr(link, "filename", None) or "a file"), code)
        # TensorFlow, Arrow and SQLite have exceptions of their own.
        text = str(link)
        for code in _FULL:
            if os.strerror(code) in text or any(phrase in text for phrase in _SQLITE_FULL):
                path = _PATH.search(text)
                return _file_system_error(path.group() if path else "metadata of the run", code)
        link = link.__cause__ or link.__context__
    return None


def _file_system_error(where: str, code: int) -> BadInput:
    is_full = code in _FULL
    return BadInput(
        "the file system refuses", where=where, expected="a path to read or write", got=os.strerror(code),
        fix="Free space, then repeat the command." if is_full else "Use another path, or permit its use.",
    )  # fmt: skip
