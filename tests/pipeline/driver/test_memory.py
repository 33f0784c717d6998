"""release_memory collects reference cycles and returns freed pages to the operating system."""

import ctypes
import gc
import weakref

from benchmarks.micro_spans import resident_mib
from pipeline.driver.memory import release_memory

BLOCK, BLOCKS = 64 * 1024, 4096
MIB = 2**20


class Node:
    pass


def test_reference_cycles_are_collected():
    gc.disable()
    try:
        node = Node()
        node.itself = node
        reference = weakref.ref(node)
        del node
        assert reference() is not None
        release_memory()
        assert reference() is None
    finally:
        gc.enable()


def test_freed_pages_return_to_the_operating_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    # The last block stays allocated: without it the C library returns the pages by itself.
    for block in blocks[:-1]:
        libc.free(block)
    before = resident_mib()
    release_memory()
    assert before - resident_mib() > BLOCK * BLOCKS / MIB / 2
    libc.free(blocks[-1])
