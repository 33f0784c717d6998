"""A loop hands memory back: what only a cycle holds, and the pages that were freed."""

import ctypes
import gc
import weakref

from benchmarks.micro_spans import resident_mib
from pipeline.driver.memory import release_memory

BLOCK, BLOCKS = 64 * 1024, 4096
MIB = 2**20


class Link:
    pass


def test_cycles_and_free_pages_go():
    gc.disable()
    try:
        link = Link()
        link.itself = link
        seen = weakref.ref(link)
        del link
        assert seen() is not None
        release_memory()
        assert seen() is None
    finally:
        gc.enable()

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    # The last one stays: without it the C library hands the others back by itself.
    for block in blocks[:-1]:
        libc.free(block)
    before = resident_mib()
    release_memory()
    assert before - resident_mib() > BLOCK * BLOCKS / MIB / 2
    libc.free(blocks[-1])
