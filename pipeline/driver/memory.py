"""Releases freed memory to the operating system; the C library keeps it by default."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def release_memory() -> None:
    """Collects reference cycles and returns free pages, where the C library supports it (glibc).

    A span allocates a few hundred MiB in many threads, and TensorFlow's graphs hold reference cycles. Python
    collects cycles only every few spans, and each thread's arena keeps some pages. Without this call the
    memory of a loop grows for months although nothing leaks.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
