"""What the loop did, for machines: one JSON object a line, appended to a file under the root."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any


class Journal(logging.Handler):
    """Steps and pipelines with their seconds, and every warning of ours; survives a kill up to the last line.

    Args:
        path: The file; it and its folder are made if they are missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, event: str, **fields: Any) -> None:
        """Appends one line with the time (Unix seconds), this process, the event and its fields."""
        line = {"time": round(time.time(), 3), "pid": os.getpid(), "event": event, **fields}
        with self._path.open("a") as file:
            # One write of a whole line, so that two processes never mix theirs.
            file.write(json.dumps(line) + "\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a warning of our own code; what libraries log stays theirs."""
        if record.name.partition(".")[0] in ("eventlog", "models", "components", "pipeline"):
            self.write(record.levelname.lower(), logger=record.name, message=record.getMessage())
