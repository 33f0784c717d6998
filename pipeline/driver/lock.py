"""Lock that allows one loop per root; the operating system releases it when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from eventlog.errors import BadInput


@contextlib.contextmanager
def exclusive_loop_lock(root: Path) -> Iterator[None]:
    """Holds the root's lock.

    Raises:
        BadInput: if another process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BadInput(
                "another loop runs here", where=str(root), expected="one loop per root",
                got=f"process {holder}", fix="Stop that process, or use another root.",
            ) from error  # fmt: skip
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
