"""What a person sees of an experiment: a bar on a terminal, a line every so many trials in a log."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.trials.trial import Trial

_SECONDS_BETWEEN_LINES = 30.0


class ExperimentProgress:
    """Tells what has begun and how many trials are left.

    Args:
        console: standard error, say.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._started = self._told = time.monotonic()
        self._done = 0

    def __enter__(self) -> ExperimentProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Something begins, or has been chosen."""
        self._done = 0
        self._console.print(line, highlight=False, markup=False)
        self._bar.reset(self._task, description=line, total=None)

    def on_done(self, trial: Trial, left: int) -> None:
        """A trial has ended; so many are left of those asked for."""
        self._done += 1
        self._bar.update(self._task, completed=self._done, total=self._done + left)
        now = time.monotonic()
        if not self._console.is_terminal and (not left or now - self._told > _SECONDS_BETWEEN_LINES):
            self._told = now
            passed = now - self._started
            self._console.print(
                f"  {trial.job.role}: {self._done} trials done, {left} left, {passed:.0f} s", highlight=False
            )
