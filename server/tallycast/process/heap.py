"""Gives back to the system the memory that is free.

Owns the look at it. What is freed goes back to the C library, and the GNU one keeps it when anything lies
beyond it: after a flood a server could hold tens of megabytes of nothing for good. Elsewhere nothing is done.
And the end of a process, which must not take long.
"""

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

EVERY = 5.0
# Less than this (bytes) more than there was is not worth a look. But what was in use then may be free now,
# which nothing shows, so there is one after this time (s) in any case.
MORE = 2**20
LONGEST = 30.0

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """The resident memory of this process (bytes)."""
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def trim_heap() -> None:
    """Give back what is free, now and then; until cancelled. Where that cannot be done, it is not."""
    trim = _trim()
    if trim is None:
        return
    least, looked = resident(), 0.0
    while True:
        await asyncio.sleep(EVERY)
        looked += EVERY
        least = min(least, resident())
        if resident() - least > MORE or looked >= LONGEST:
            trim(0)
            least, looked = resident(), 0.0


def skip_final_gc() -> None:
    """This process is about to end: let the system take all there is, at once.

    The interpreter would look through everything for cycles, several times, a tenth of a second in all, and
    on a busy machine a second or two of the time there is to stop in.
    """
    gc.freeze()


def _trim() -> Callable[[int], object] | None:
    """malloc_trim(3), where there is one."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
