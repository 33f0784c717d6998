"""Shows the progress of a run: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from pipeline.driver.journal import Journal

TRAINING_LOGGER = "models.training.progress"
"""Name of `models.training.TRAINING_PROGRESS`. To import it would import TensorFlow."""
_LINE_SECONDS = 30.0
"""Time between two lines of a log about a step that is still running."""


class Progress:
    """Prints pipelines and steps with their seconds, and writes them to the journal.

    Args:
        console: Where to print; a terminal shows only the current step.
        journal: Where to write the same events; None for no journal.
    """

    def __init__(self, console: Console, journal: Journal | None = None) -> None:
        self._console = console
        self._journal = journal
        self._title = ""

    @contextlib.contextmanager
    def pipeline(self, title: str, num_left: int = 0) -> Iterator[None]:
        """Reports the pipeline that the block runs, such as `span 3`, when it is done.

        Args:
            title: name of the pipeline.
            num_left: number of later pipelines that take about the same time.
        """
        self._title = title
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        left = f"; {num_left} left, about {_duration(num_left * seconds)}" if num_left else ""
        self._console.print(f"[bold]{title}[/bold] done in {seconds:.1f} s{left}")
        self._write("pipeline", pipeline=title, seconds=round(seconds, 3))

    @contextlib.contextmanager
    def step(self, name: str, number: int, total: int) -> Iterator[None]:
        """Reports the step that the block runs: live on a terminal, a line with its seconds in a log."""
        # Without `escape`, rich would read [3/7] as a style.
        label = escape(f"{self._title} [{number}/{total}] {name}")
        started = time.monotonic()
        with _Ticker(self._console, label):
            yield
        seconds = time.monotonic() - started
        if not self._console.is_terminal:
            self._console.print(f"  {label} {seconds:.1f} s", highlight=False)
        self._write("step", pipeline=self._title, step=name, seconds=round(seconds, 3))

    def print_line(self, text: str) -> None:
        """Prints a plain line between steps."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._write("note", text=text)

    def _write(self, event: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.write(event, **fields)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class _Ticker:
    """While a step runs, shows its seconds and the last line of a training.

    On a terminal the line of the step is renewed every second. A log gets a line every `_LINE_SECONDS`.

    Args:
        console: where to print.
        label: the step, with `escape`.
    """

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._training = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._logger = logging.getLogger(TRAINING_LOGGER)
        self._handler = _LineHandler(self._set_training)
        self._status = Status(label, console=console) if console.is_terminal else None

    def __enter__(self) -> None:
        if self._status is not None:
            self._status.start()
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.INFO)
        # Other handlers would print the lines a second time.
        self._logger.propagate = False
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(logging.NOTSET)
        self._logger.propagate = True
        if self._status is not None:
            self._status.stop()

    def _set_training(self, line: str) -> None:
        self._training = f": {escape(line)}"

    def _tick(self) -> None:
        while not self._ended.wait(_LINE_SECONDS if self._status is None else 1.0):
            line = f"{self._label} {time.monotonic() - self._started:.0f} s{self._training}"
            if self._status is None:
                self._console.print(f"  {line}, still running", highlight=False)
            else:
                self._status.update(line)


class _LineHandler(logging.Handler):
    """Passes the text of every record to a function."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        self._on_line(record.getMessage())
