"""Tells bad input from a broken program, whatever has wrapped it."""

from __future__ import annotations

from eventlog.errors import BadInput

_QUOTED = "eventlog.errors.BadInput: "


def refusal(error: BaseException) -> BadInput | None:
    """The BadInput behind an error, also if a Beam worker raised it and Beam made text of it; else None."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, BadInput):
            return _unwrapped(current)
        for line in str(current).splitlines():
            _, found, text = line.partition(_QUOTED)
            if found:
                return _unwrapped(BadInput.quoted(text))
        current = current.__cause__ or current.__context__
    return None


def _unwrapped(error: BadInput) -> BadInput:
    text, found, _ = str(error).partition(" [while running")
    return BadInput.quoted(text) if found else error
