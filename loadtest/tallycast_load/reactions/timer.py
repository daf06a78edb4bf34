"""An alarm that rings on time: the event loop's own timers may be a whole millisecond late.

Owns one timer of the operating system (timerfd on Linux; elsewhere the loop's timers must do). Must not know
what it is for.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from struct import Struct
from time import monotonic_ns

_SECOND = 1_000_000_000
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_TIMES = Struct("qqqq")  # struct itimerspec: the interval, then the moment


class Alarm:
    """Calls ``ring`` at the moment that was set last, in the running loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._file = -1
        if sys.platform == "linux":
            # Python has os.timerfd_create only since 3.13.
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._file = self._libc.timerfd_create(ctypes.c_int(1), ctypes.c_int(_FLAGS))
        if self._file >= 0:
            self._loop.add_reader(self._file, self._read)

    def set(self, at: int) -> None:
        """Ring at ``at``, nanoseconds of the monotonic clock; at once when that has passed."""
        if self._file >= 0:
            at = max(at, 1)  # Zero would stop it.
            times = _TIMES.pack(0, 0, at // _SECOND, at % _SECOND)
            self._libc.timerfd_settime(self._file, _ABSOLUTE, times, None)
        else:
            self._cancel()
            self._handle = self._loop.call_later(max(0, at - monotonic_ns()) / _SECOND, self._ring)

    def close(self) -> None:
        """Ring no more."""
        self._cancel()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return
        self._ring()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
