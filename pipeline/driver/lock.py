"""Lock that allows one loop per root; the operating system releases it when the loop's process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from eventlog.errors import BadInput

_TRIES = 5
_SECONDS_BETWEEN_TRIES = 0.1


@contextlib.contextmanager
def exclusive_loop_lock(root: Path) -> Iterator[None]:
    """Holds the root's lock until the block ends; the lock file has the id of this process.

    Raises:
        BadInput: if another process holds the lock.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a+") as file:
        try:
            _take(file)
        except OSError as error:
            file.seek(0)
            holder_pid = file.read().strip() or "unknown"
            raise BadInput(
                "another loop runs here", where=str(root), expected="one loop per root",
                got=f"process {holder_pid}", fix="Stop that process, or use another root.",
            ) from error  # fmt: skip
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: TextIO) -> None:
    # `status` holds the lock for an instant, so one refusal does not mean that a loop runs.
    for _ in range(_TRIES - 1):
        with contextlib.suppress(OSError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_SECONDS_BETWEEN_TRIES)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
