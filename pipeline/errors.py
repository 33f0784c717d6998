"""Ends a program with one line on bad input, and with a traceback on a program error."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection
from typing import Any

import click

from components.transforms.collecting import find_bad_input
from eventlog.errors import BadInput

_FULL_DISK_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_FULL_TEXTS = ("database or disk is full", "disk I/O error")
_ABSOLUTE_PATH = re.compile(r"(?<!\w)/[^\s'\",;:]+")
_REFUSAL_CODES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
_NO_FOLDER_CODES = (errno.EEXIST, errno.ENOENT)
"""Codes of a folder that cannot be made: a file has the same path, or the folder would lie in `/proc`."""


def exit_on_bad_input(name: str, program: Callable[[], Any]) -> None:
    """Runs a program; on bad input, prints one line on standard error and exits with code 2.

    Wrong options, paths that the file system refuses, and full disks are bad input too.

    Args:
        name: The program's name, printed before the message.
        program: Any callable, such as a click command with `standalone_mode=False`.
    """
    try:
        # Outside standalone mode, click returns the exit code of `Exit`.
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


def print_error(error: BadInput) -> None:
    """Prints an error on standard error, in the form of `exit_on_bad_input`; the program goes on."""
    click.echo(f"rankdistill: {error}", err=True)


def exit_with(errors: Collection[BadInput]) -> None:
    """Prints every error, then exits with code 2; returns if there is no error.

    Raises:
        click.exceptions.Exit: if there is an error.
    """
    for error in errors:
        print_error(error)
    if errors:
        raise click.exceptions.Exit(2)


def _find_file_system_error(error: BaseException) -> BadInput | None:
    """The first cause in an error's chain that is a refused path or a full disk, as BadInput; else None."""
    cause: BaseException | None = error
    while cause is not None:
        code = cause.errno if isinstance(cause, OSError) else None
        if code in _NO_FOLDER_CODES and not _is_raised_by_mkdir(cause):
            code = None
        if code in (*_REFUSAL_CODES, *_FULL_DISK_CODES, *_NO_FOLDER_CODES):
            return _file_system_error(str(getattr(cause, "filename", None) or "a file"), code)
        # Errors of TensorFlow, Arrow and SQLite may have no errno; then their text shows a full disk.
        text = str(cause)
        for code in _FULL_DISK_CODES:
            if os.strerror(code) in text or any(phrase in text for phrase in _SQLITE_FULL_TEXTS):
                path = _ABSOLUTE_PATH.search(text)
                return _file_system_error(path.group() if path else "metadata of the run", code)
        cause = cause.__cause__ or cause.__context__
    return None


def _is_raised_by_mkdir(error: BaseException) -> bool:
    """Whether the error was raised while a folder was made; any other missing file may be a program error."""
    return any(frame.name in ("mkdir", "makedirs") for frame in traceback.extract_tb(error.__traceback__))


def _file_system_error(where: str, code: int) -> BadInput:
    is_full = code in _FULL_DISK_CODES
    return BadInput(
        "the file system refuses", where=where, expected="a path to read or write", got=os.strerror(code),
        fix="Free space, then repeat the command." if is_full else "Use another path, or permit its use.",
    )  # fmt: skip
