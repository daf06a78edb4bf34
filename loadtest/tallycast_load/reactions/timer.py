"""A timer with microsecond precision: those of the event loop may be a whole millisecond late.

Owns one timer of the operating system (timerfd on Linux; the loop's timers elsewhere). Does not depend on
what it calls.
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
_ITIMERSPEC = Struct("qqqq")  # struct itimerspec: the interval, then the moment


class Timer:
    """Calls ``callback`` in the running loop at the moment that was set last."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._fd = -1
        if sys.platform == "linux":
            # Python has os.timerfd_create only since 3.13.
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(ctypes.c_int(1), ctypes.c_int(_FLAGS))
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._on_readable)

    def set(self, at: int) -> None:
        """Call at ``at``, nanoseconds of the monotonic clock; at once when that has passed."""
        if self._fd >= 0:
            at = max(at, 1)  # Zero would disarm it.
            times = _ITIMERSPEC.pack(0, 0, at // _SECOND, at % _SECOND)
            self._libc.timerfd_settime(self._fd, _ABSOLUTE, times, None)
        else:
            self._cancel()
            self._handle = self._loop.call_later(max(0, at - monotonic_ns()) / _SECOND, self._callback)

    def close(self) -> None:
        """Stop the timer."""
        self._cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._callback()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
