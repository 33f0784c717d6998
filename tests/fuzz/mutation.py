"""Strategies of bytes that are almost valid files."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

Case = dict[str, bytes]
"""One input of a fuzz target: names of files and their contents."""

_BYTES = [b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\n", b"\r", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]


@st.composite
def mutated(draw: st.DrawFn, content: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """Applies a few edits to bytes: replace, flip a bit, insert, cut, repeat, move or truncate.

    Args:
        draw: from Hypothesis.
        content: a valid file.
        tokens: bytes with a meaning in the file's format, which edits insert besides random ones.
    """
    num_edits = draw(st.integers(1, 5))
    # Hypothesis's own integers favour the first bytes of a file.
    random = draw(st.randoms(use_true_random=True))
    changed = bytearray(content)
    for _ in range(num_edits):
        _edit(changed, random, [*_BYTES, *tokens, random.randbytes(1), random.randbytes(8)])
    return bytes(changed)


def _edit(changed: bytearray, random: Random, pieces: Sequence[bytes]) -> None:
    first, target = random.randint(0, len(changed)), random.randint(0, len(changed))
    end = min(len(changed), first + random.randint(1, 40))
    piece = random.choice(pieces)
    edit = random.choices(
        ["replace", "flip", "insert", "cut", "repeat", "move", "truncate"], [8, 4, 4, 2, 2, 2, 1]
    )[0]
    if edit == "replace":
        changed[first : first + len(piece)] = piece
    elif edit == "flip" and first < end:
        changed[first] ^= 1 << random.randrange(8)
    elif edit == "insert":
        changed[first:first] = piece
    elif edit == "cut":
        del changed[first:end]
    elif edit == "repeat":
        changed[first:end] = changed[first:end] * random.randint(2, 20)
    elif edit == "move":
        changed[target : target + end - first] = changed[first:end]
    elif edit == "truncate":
        del changed[first:]
