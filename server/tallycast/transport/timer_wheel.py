"""One timer for all connections, and one for all requests that are on their way.

Owns the clock hand: every one is visited about once a second, in tenths, so that no connection needs a
timer of its own and no visit takes long. Must not know what a visit does.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

SLICES = 10
PERIOD = 1.0

_log = structlog.get_logger("web")


class Timed(Protocol):
    """Whatever waits for something."""

    def on_tick(self, now: float) -> None:
        """About a second has passed; ``now`` is the monotonic clock."""


class Drainable(Timed, Protocol):
    """A connection that is there to stay."""

    def bye(self, retry_after: float) -> None:
        """Tell the client that the server is draining; go on until ``leave``."""

    def leave(self) -> None:
        """Finish what is under way, then close. May be said again."""

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
        """How many there are."""
        return sum(map(len, self._slices))

    def join(self, timed: V) -> int:
        """Be visited; gives the slice, which ``leave`` wants back."""
        at = min(range(SLICES), key=lambda i: len(self._slices[i]))
        self._slices[at].add(timed)
        return at

    def leave(self, at: int, timed: V) -> None:
        """Be visited no more."""
        self._slices[at].discard(timed)

    def everyone(self) -> list[V]:
        """All there are."""
        return [timed for places in self._slices for timed in places]

    def advance(self) -> None:
        """Move the hand on by one slice."""
        self.now = self._clock()
        self._hand = (self._hand + 1) % SLICES
        for timed in tuple(self._slices[self._hand]):
            try:
                timed.on_tick(self.now)
            except Exception:
                _log.exception("a visit failed")

    async def run(self) -> None:
        """Turn until cancelled."""
        while True:
            await asyncio.sleep(PERIOD / SLICES)
            self.advance()
