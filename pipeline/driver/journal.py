"""Machine-readable log of the loop: one JSON object per line, in a file under the root."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.logging_setup import OUR_PACKAGES


class Journal(logging.Handler):
    """Records pipelines and steps, printed lines, and the warnings and errors of this project's code.

    A kill loses at most the line that is being written.

    Args:
        path: The file; a missing file or folder is created.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, event: str, **fields: Any) -> None:
        """Appends one line with the time (Unix seconds), the process id, the event and its fields."""
        line = {"time": round(time.time(), 3), "pid": os.getpid(), "event": event, **fields}
        with self._path.open("a") as file:
            # One write per line, so that lines of two processes never mix.
            file.write(json.dumps(line) + "\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a warning or error of this project's code; ignores other libraries' records."""
        if record.name.partition(".")[0] in OUR_PACKAGES:
            self.write(record.levelname.lower(), logger=record.name, message=record.getMessage())


@contextlib.contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Yields a journal that gets all warnings of the process while the block runs."""
    journal = Journal(path)
    logging.getLogger().addHandler(journal)
    try:
        yield journal
    finally:
        logging.getLogger().removeHandler(journal)
