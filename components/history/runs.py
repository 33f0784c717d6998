"""Cuts a range of spans into dyadic runs, so that few files hold the totals of any range.

A run has 2^j spans and begins at a multiple of 2^j. Its totals are computed once, from its two halves.

Reference: Bentley and Saxe, "Decomposable searching problems I", J. Algorithms 1980 (the logarithmic method).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping


@dataclasses.dataclass(frozen=True, order=True)
class Run:
    """The spans from `first` to `end - 1`: a power of 2 of them, aligned."""

    first: int
    end: int

    @property
    def halves(self) -> tuple[Run, ...]:
        """The two runs of half the length; empty for a single span."""
        middle = (self.first + self.end) // 2
        if middle == self.first:
            return ()
        return Run(self.first, middle), Run(middle, self.end)


def cover(first: int, end: int) -> list[Run]:
    """The fewest runs that together are the spans from `first` to `end - 1`, in order."""
    runs = []
    while first < end:
        length = 1
        while first % (2 * length) == 0 and first + 2 * length <= end:
            length *= 2
        runs.append(Run(first, first + length))
        first += length
    return runs


def run_name(run: Run, versions: Mapping[int, int]) -> str:
    """The name of a run's folder: its spans and, unless all of them have version 0, a hash of the versions.

    Args:
        run: the run.
        versions: complete span → version.
    """
    own = [versions.get(span, -1) for span in range(run.first, run.end)]
    suffix = f"-{hashlib.sha256(str(own).encode()).hexdigest()[:8]}" if any(own) else ""
    return f"spans={run.first}-{run.end - 1}{suffix}"


def has_spans(run: Run, versions: Mapping[int, int]) -> bool:
    """Whether at least one span of the run is complete; another run has no files."""
    return any(run.first <= span < run.end for span in versions)


def missing_runs(
    wanted: Iterable[Run], versions: Mapping[int, int], is_stored: Callable[[Run], bool]
) -> list[Run]:
    """The runs to compute until all wanted ones are stored, each after its halves."""
    missing: dict[Run, None] = {}

    def visit(run: Run) -> None:
        if run in missing or not has_spans(run, versions) or is_stored(run):
            return
        for half in run.halves:
            visit(half)
        missing[run] = None

    for run in wanted:
        visit(run)
    return list(missing)
