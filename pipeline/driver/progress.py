"""Shows the progress of a run: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from pipeline.driver.journal import Journal


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
    def pipeline(self, title: str) -> Iterator[None]:
        """Reports the pipeline that the block runs, such as `span 3`, when it is done."""
        self._title = title
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._console.print(f"[bold]{title}[/bold] done in {seconds:.1f} s")
        self._write("pipeline", pipeline=title, seconds=round(seconds, 3))

    @contextlib.contextmanager
    def step(self, name: str, number: int, total: int) -> Iterator[None]:
        """Reports the step that the block runs: live on a terminal, a line with its seconds in a log."""
        # Without `escape`, rich would read [3/7] as a style.
        label = escape(f"{self._title} [{number}/{total}] {name}")
        started = time.monotonic()
        with Status(label, console=self._console) if self._console.is_terminal else contextlib.nullcontext():
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
