"""Heap trimming: returns free memory to the operating system.

Owns when that is done. Freed memory goes to the C library, and the GNU one keeps it while anything above it
is in use: after a flood, a process could hold tens of megabytes of free memory for good. Other systems are
left alone. Does not depend on what uses memory.
"""

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

CHECK_INTERVAL = 5.0  # seconds
# Growth (bytes) that is worth trimming. Memory that was in use at the last trim may be free now, which no
# number shows, so the heap is trimmed after this many seconds in any case.
MIN_GROWTH = 2**20
MAX_INTERVAL = 30.0

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def trim_heap() -> None:
    """Trim the heap from time to time, until cancelled; return at once where malloc_trim(3) is missing."""
    trim = _trim()
    if trim is None:
        return
    lowest, elapsed = resident(), 0.0
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        elapsed += CHECK_INTERVAL
        lowest = min(lowest, resident())
        if resident() - lowest > MIN_GROWTH or elapsed >= MAX_INTERVAL:
            trim(0)
            lowest, elapsed = resident(), 0.0


def skip_final_gc() -> None:
    """Skip the garbage collections at the end of this process.

    The interpreter would search all objects for cycles several times: a tenth of a second, and on a busy
    machine one or two seconds of the time limit of a shutdown.
    """
    gc.freeze()


def _trim() -> Callable[[int], object] | None:
    """malloc_trim(3), where it exists."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
