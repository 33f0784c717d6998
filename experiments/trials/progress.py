"""Progress of an experiment on the console: a bar on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.trials.trial import Trial

_SECONDS_BETWEEN_LINES = 30.0


class ExperimentProgress:
    """Shows the current step and its numbers of finished and remaining trials.

    Args:
        console: the console to print on, usually of standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._started = self._last_line = time.monotonic()
        self._num_done = 0

    def __enter__(self) -> ExperimentProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def print_line(self, line: str) -> None:
        """Prints a line about a new step and resets the number of finished trials to 0."""
        self._num_done = 0
        self._console.print(line, highlight=False, markup=False)
        self._bar.reset(self._task, description=line, total=None)

    def on_done(self, trial: Trial, left: int) -> None:
        """Shows that `trial` has finished and that `left` trials of the same step remain."""
        self._num_done += 1
        self._bar.update(self._task, completed=self._num_done, total=self._num_done + left)
        now = time.monotonic()
        if not self._console.is_terminal and (not left or now - self._last_line > _SECONDS_BETWEEN_LINES):
            self._last_line = now
            self._console.print(
                f"  {trial.job.role}: {self._num_done} trials done, {left} left, {now - self._started:.0f} s",
                highlight=False,
            )
