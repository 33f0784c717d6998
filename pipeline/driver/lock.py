"""One loop a root: a lock that dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from eventlog.errors import BadInput


@contextlib.contextmanager
def only_loop(root: Path) -> Iterator[None]:
    """Keeps every other loop from this root.

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
                "another loop runs here", where=str(root), expected="one loop a root",
                got=f"process {holder}", fix="Stop it first, or give this one a root of its own.",
            ) from error  # fmt: skip
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
