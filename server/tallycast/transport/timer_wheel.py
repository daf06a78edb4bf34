"""One timer for many connections.

Owns the hand: it calls every connection about once a second, a tenth of them at a time, so that no connection
needs a timer of its own and the loop is not blocked for long. Does not depend on what a call does.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

SLICES = 10
PERIOD = 1.0

_log = structlog.get_logger("transport")


class Timed(Protocol):
    """A member of a timer wheel."""

    def on_tick(self, now: float) -> None:
        """About a second has passed; ``now`` is the monotonic clock."""


class Drainable(Timed, Protocol):
    """A long-lived connection."""

    def bye(self, retry_after: float) -> None:
        """Send that the server is draining; continue until ``close_gracefully``."""

    def close_gracefully(self) -> None:
        """Close when the messages under way are answered. May be called again."""

    def abort(self) -> None:
        """End at once."""


V = TypeVar("V", bound=Timed)


class TimerWheel(Generic[V]):
    """``now`` is the monotonic clock, precise to a tenth of a second and free to read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.now = clock()
        self._slices: list[set[V]] = [set() for _ in range(SLICES)]
        self._hand = 0

    def __len__(self) -> int:
        """The number of members."""
        return sum(map(len, self._slices))

    def add(self, timed: V) -> int:
        """Add a member. Returns its slice, which ``remove`` needs."""
        at = min(range(SLICES), key=lambda i: len(self._slices[i]))
        self._slices[at].add(timed)
        return at

    def remove(self, at: int, timed: V) -> None:
        """Remove a member."""
        self._slices[at].discard(timed)

    def members(self) -> list[V]:
        """All members."""
        return [timed for members in self._slices for timed in members]

    def advance(self) -> None:
        """Move the hand on by one slice."""
        self.now = self._clock()
        self._hand = (self._hand + 1) % SLICES
        for timed in tuple(self._slices[self._hand]):
            try:
                timed.on_tick(self.now)
            except Exception:
                _log.exception("tick failed")

    async def run(self) -> None:
        """Advance every tenth of a second, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD / SLICES)
            self.advance()
