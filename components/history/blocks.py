"""Cuts a range of spans into dyadic blocks, so that few files hold the totals of any range.

A block has 2^j spans and begins at a multiple of 2^j. Its totals are computed once, from its two halves.

Reference: Bentley and Saxe, "Decomposable searching problems I", J. Algorithms 1980 (the logarithmic method).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

_SINGLE_SPAN = re.compile(r"spans=(\d+)-\1(?:-v(\d+))?")


@dataclasses.dataclass(frozen=True, order=True)
class Block:
    """The spans from `first` to `end - 1`. Their number is a power of 2 and divides `first`."""

    first: int
    end: int

    @property
    def halves(self) -> tuple[Block, ...]:
        """The two blocks of half the length; empty for a single span."""
        middle = (self.first + self.end) // 2
        if middle == self.first:
            return ()
        return Block(self.first, middle), Block(middle, self.end)


def cover(first: int, end: int) -> list[Block]:
    """The fewest blocks that together are the spans from `first` to `end - 1`, in order."""
    blocks = []
    while first < end:
        length = 1
        while first % (2 * length) == 0 and first + 2 * length <= end:
            length *= 2
        blocks.append(Block(first, first + length))
        first += length
    return blocks


def block_name(block: Block, versions: Mapping[int, int]) -> str:
    """The name of a block's folder: its spans and, unless all of them have version 0, their versions.

    Args:
        block: the block.
        versions: complete span → version.

    Returns:
        For example `spans=4-4` or `spans=4-4-v1`; for several spans `spans=4-7` or, with versions above 0 or
        missing spans, `spans=4-7-` and a hash of the versions.
    """
    own = [versions.get(span, -1) for span in range(block.first, block.end)]
    name = f"spans={block.first}-{block.end - 1}"
    if not any(own):
        return name
    if len(own) == 1:
        return f"{name}-v{own[0]}"
    return f"{name}-{hashlib.sha256(str(own).encode()).hexdigest()[:8]}"


def named_versions(names: Iterable[str]) -> dict[int, int]:
    """Span → its newest version among the names of single spans' folders; other names are left out."""
    versions: dict[int, int] = {}
    for name in names:
        if match := _SINGLE_SPAN.fullmatch(name):
            span, version = int(match[1]), int(match[2] or 0)
            versions[span] = max(version, versions.get(span, 0))
    return versions


def has_spans(block: Block, versions: Mapping[int, int]) -> bool:
    """Whether at least one span of the block is complete. A block without a complete span has no files."""
    return any(block.first <= span < block.end for span in versions)


def missing_blocks(
    wanted: Iterable[Block], versions: Mapping[int, int], is_stored: Callable[[Block], bool]
) -> list[Block]:
    """The blocks to compute so that all wanted blocks are stored, each after its halves."""
    missing: dict[Block, None] = {}

    def visit(block: Block) -> None:
        if block in missing or not has_spans(block, versions) or is_stored(block):
            return
        for half in block.halves:
            visit(half)
        missing[block] = None

    for block in wanted:
        visit(block)
    return list(missing)
