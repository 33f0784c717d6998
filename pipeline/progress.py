"""What a person sees of a run: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.status import Status


class Progress:
    """Tells which step of which pipeline runs, and how long each took."""

    def __init__(self, console: Console) -> None:
        """Writes to `console`; animated only if that is a terminal."""
        self._console = console
        self._title = ""
        self._started = 0.0

    @contextlib.contextmanager
    def stretch(self, title: str) -> Iterator[None]:
        """A pipeline, such as `span 3`, from its first step to its last."""
        self._title, self._started = title, time.monotonic()
        yield
        self._console.print(f"[bold]{title}[/bold] done in {time.monotonic() - self._started:.1f} s")

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
        self._console.print(f"  {shown} {time.monotonic() - started:.1f} s", highlight=False)
