"""One timer for all connections.

Owns the clock hand: every connection is visited about once a second, in tenths, so that no connection needs a
timer of its own and no visit takes long. Must not know what a visit does.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

SLICES = 10
PERIOD = 1.0

_log = structlog.get_logger("web")


class Visited(Protocol):
    """A connection."""

    def visit(self, now: float) -> None:
        """About a second has passed; ``now`` is the monotonic clock."""

    def bye(self, retry_after: float) -> None:
        """Tell the client that the server is draining; go on until ``leave``."""

    def leave(self) -> None:
        """Finish what is under way, then close. May be said again."""

    def abort(self) -> None:
        """End at once."""


class Rounds:
    """``now`` is the monotonic clock, precise to a tenth of a second and free to read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.now = clock()
        self._slices: list[set[Visited]] = [set() for _ in range(SLICES)]
        self._hand = 0

    def __len__(self) -> int:
        """How many connections there are."""
        return sum(map(len, self._slices))

    def join(self, visited: Visited) -> int:
        """Be visited; gives the slice, which ``leave`` wants back."""
        at = min(range(SLICES), key=lambda i: len(self._slices[i]))
        self._slices[at].add(visited)
        return at

    def leave(self, at: int, visited: Visited) -> None:
        """Be visited no more."""
        self._slices[at].discard(visited)

    def everyone(self) -> list[Visited]:
        """All connections there are."""
        return [visited for places in self._slices for visited in places]

    def turn(self) -> None:
        """Move the hand on by one slice."""
        self.now = self._clock()
        self._hand = (self._hand + 1) % SLICES
        for visited in tuple(self._slices[self._hand]):
            try:
                visited.visit(self.now)
            except Exception:
                _log.exception("a visit failed")

    async def run(self) -> None:
        """Turn until cancelled."""
        while True:
            await asyncio.sleep(PERIOD / SLICES)
            self.turn()
