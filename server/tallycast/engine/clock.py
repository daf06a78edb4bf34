"""The offset between the engine's clock and the monotonic clock of this process.

Owns the estimate. It is taken from replies that contain the engine's time, read before the reply arrived, so
it is never ahead of the engine's clock, and a deadline is never late. Does not depend on how the engine is
reached.
"""

import time

# How long (s) a commit may take effect. Its caller waits a little longer, and gets an answer within 2 s.
DEADLINE = 1.7
# Added (s) to a deadline where it is awaited, because two clocks never run at exactly the same rate.
MARGIN = 0.1


class ClockOffset:
    """One engine's offset. Unknown until the first reply, and whenever another engine may answer next."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        # How far the engine's clock (µs since 1970) is ahead of the monotonic clock here (µs).
        self._offset: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return self._offset is not None

    def update(self, now: int) -> None:
        """Learn the engine's time (µs) from a reply that has just arrived."""
        self._offset = now - time.monotonic() * 1e6

    def forget(self) -> None:
        """Discard the estimate: another engine may answer next."""
        self._offset = None

    def deadline(self, until: float) -> int:
        """The engine's time (µs) at a moment of the monotonic clock (s). The offset must be known."""
        assert self._offset is not None
        return int(self._offset + until * 1e6)

    def age(self, version: int) -> float | None:
        """How long ago (s) a version (µs since 1970) was committed; ``None`` while the offset is unknown."""
        if self._offset is None:
            return None
        return max(0.0, (self._offset - version) / 1e6 + time.monotonic())
