"""What a person sees of a run: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.status import Status

from pipeline.driver.journal import Journal


class Progress:
    """Tells which step of which pipeline runs, and how long each took."""

    def __init__(self, console: Console, journal: Journal | None = None) -> None:
        """Writes to `console`, animated only if that is a terminal, and to `journal`."""
        self._console = console
        self._journal = journal
        self._title = ""
        self._started = 0.0

    @contextlib.contextmanager
    def stretch(self, title: str) -> Iterator[None]:
        """A pipeline, such as `span 3`, from its first step to its last."""
        self._title, self._started = title, time.monotonic()
        yield
        seconds = time.monotonic() - self._started
        self._console.print(f"[bold]{title}[/bold] done in {seconds:.1f} s")
        self._write("pipeline", pipeline=title, seconds=round(seconds, 3))

    @contextlib.contextmanager
    def step(self, name: str, number: int, total: int) -> Iterator[None]:
        """One step of the current pipeline."""
        label = f"{self._title} [{number}/{total}] {name}"
        # Escaped, since rich would take [3/7] for a style.
        shown = label.replace("[", r"\[")
        started = time.monotonic()
        if self._console.is_terminal:
            with Status(shown, console=self._console):
                yield
        else:
            yield
        seconds = time.monotonic() - started
        self._console.print(f"  {shown} {seconds:.1f} s", highlight=False)
        self._write("step", pipeline=self._title, step=name, seconds=round(seconds, 3))

    def say(self, text: str) -> None:
        """A plain line between steps."""
        self._console.print(text, highlight=False, markup=False)
        self._write("note", text=text)

    def _write(self, event: str, **fields: Any) -> None:
        if self._journal is not None:
            self._journal.write(event, **fields)
