"""The temporary folder of an import, inside the folder of the log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from eventlog.errors import BadInput

_NAME = ".import"


@contextlib.contextmanager
def workspace(log: Path) -> Iterator[Path]:
    """Makes an empty folder in the log's folder, and deletes it at the end.

    The folder of a killed import is emptied first. A lock keeps out a second import into the same log.

    Raises:
        BadInput: if another import writes this log.
    """
    folder = log / _NAME
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                "another import writes this log", where=str(log), expected="one import at a time",
                got="a locked folder", fix="Wait until it has ended.",
            ) from None  # fmt: skip
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
