"""Hands memory that has been freed back to the system, which the C library keeps to itself by default."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def hand_back() -> None:
    """Collects what only its own cycles hold, and returns free pages, where the C library can (glibc).

    A span allocates and frees a few hundred MiB in many threads, graphs in cycles among them. Python looks
    for those every few spans, and each thread's arena keeps a little more each time, so that a loop of months
    would grow without anything leaking.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
