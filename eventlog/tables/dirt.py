"""Counts the rows that an import drops, and prints them as a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NUM_SAMPLES = 3
"""Number of offending rows that the report shows for each reason."""


@dataclass(frozen=True)
class Dirt:
    """Rows that are dropped for the same reason.

    Attributes:
        reason: the fault of these rows, as text.
        num_rows: number of these rows.
        samples: at most NUM_SAMPLES of these rows, as text.
    """

    reason: str
    num_rows: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class DirtReport:
    """The rows of a source or side table that an import drops.

    Attributes:
        num_rows: number of rows read, without those that the mapping's `where` leaves out.
        dirt: the dropped rows by reason, the largest number first.
        notes: further lines of the report, such as the number of rows that wait for the next import.
    """

    num_rows: int
    dirt: Sequence[Dirt]
    notes: Sequence[str] = ()

    @property
    def num_dropped(self) -> int:
        """Number of dropped rows."""
        return sum(entry.num_rows for entry in self.dirt)

    @property
    def share(self) -> float:
        """Number of dropped rows divided by `num_rows`."""
        return self.num_dropped / self.num_rows if self.num_rows else 0.0

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        yield f"{self.num_rows} rows read, {self.num_dropped} dropped ({percent(self.share)})"
        for entry in self.dirt:
            yield f"  {entry.num_rows} rows: {entry.reason}"
            for sample in entry.samples[:NUM_SAMPLES]:
                yield f"    {printable(sample)}"
        yield from self.notes


def percent(share: float) -> str:
    """A share as text, such as `0.12 %`."""
    return f"{100 * share:.2f} %"


def printable(text: str) -> str:
    """One line with at most 200 characters of a text. Control characters are escaped, for a terminal."""
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:200]
    )
    return escaped[:200]
