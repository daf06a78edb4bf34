"""An engine's clock, as far as it is known here.

Owns the estimate. It is known from replies that say what time it was: read before the reply arrived, so the
estimate is never ahead of the engine's clock, and a deadline never late. Must not know how it is asked.
"""

import time

# A batch may take effect until its deadline; who waits for it waits a little longer, never less (s), and is
# answered within two seconds.
DEADLINE = 1.7
# Added (s) to a deadline where it is waited for, because two clocks never run alike.
MARGIN = 0.1


class Clock:
    """One engine's. ``known`` is false until it was asked, and whenever another may answer next."""

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        # How far it is ahead of the monotonic clock here (µs).
        self._ahead: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return self._ahead is not None

    def tick(self, now: int) -> None:
        """Learn the engine's time (µs) from a reply that has just arrived."""
        self._ahead = now - time.monotonic() * 1e6

    def forget(self) -> None:
        """Whatever answers next may have another clock."""
        self._ahead = None

    def deadline(self, until: float) -> int:
        """The engine's time (µs) at a moment of the monotonic clock here. It must be known."""
        assert self._ahead is not None
        return int(self._ahead + until * 1e6)

    def age(self, version: int) -> float | None:
        """How long ago (s) a version was committed; ``None``: the clock is not known."""
        if self._ahead is None:
            return None
        return max(0.0, (self._ahead - version) / 1e6 + time.monotonic())
