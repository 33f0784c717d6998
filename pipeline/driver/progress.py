"""Progress of a run for people: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.status import Status

from pipeline.driver.journal import Journal


class Progress:
    """Prints each pipeline and step with its seconds, and writes the same to the journal.

    Args:
        console: Shows an animation only if it is a terminal.
        journal: Gets the same events; None for no journal.
    """

    def __init__(self, console: Console, journal: Journal | None = None) -> None:
        self._console = console
        self._journal = journal
        self._title = ""
        self._started = 0.0

    @contextlib.contextmanager
    def pipeline(self, title: str) -> Iterator[None]:
        """Reports one pipeline, such as `span 3`, when it is done."""
        self._title, self._started = title, time.monotonic()
        yield
        seconds = time.monotonic() - self._started
        self._console.print(f"[bold]{title}[/bold] done in {seconds:.1f} s")
        self._write("pipeline", pipeline=title, seconds=round(seconds, 3))

    @contextlib.contextmanager
    def step(self, name: str, number: int, total: int) -> Iterator[None]:
        """Reports one step of the current pipeline: live while it runs, with its seconds when it is done."""
        label = f"{self._title} [{number}/{total}] {name}"
        # rich would read [3/7] as a style.
        escaped = label.replace("[", r"\[")
        started = time.monotonic()
        if self._console.is_terminal:
            with Status(escaped, console=self._console):
                yield
        else:
            yield
        seconds = time.monotonic() - started
        self._console.print(f"  {escaped} {seconds:.1f} s", highlight=False)
        self._write("step", pipeline=self._title, step=name, seconds=round(seconds, 3))

    def print_line(self, text: str) -> None:
        """Prints a plain line between steps."""
        self._console.print(text, highlight=False, markup=False)
        self._write("note", text=text)

    def _write(self, event: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.write(event, **fields)
