"""How a worker's connections end when it is told to stop.

Owns the order and the pace: all are told at once that the server drains, then one after the other is closed,
evenly, so that whoever takes over is not stormed. Must not know what a connection is, beyond how it leaves.
"""

import asyncio
import random
import time

from tallycast.transport.timer_wheel import Drainable, TimerWheel

# Of the time there is, so much is for closing; the rest is for who is slow to go.
CLOSING = 0.8
# A few connections are not stretched over all of the time: so many leave in a second at least.
PACE = 10.0
# Told in one turn of the loop.
SLICE = 250
POLL = 0.05
# How long (s) a client is asked to wait after its close before it comes back.
SOONEST, LATEST = 0.5, 3.0


class Drain:
    """The end of the connections in ``timers``; ``begun`` when it has."""

    def __init__(self, timers: TimerWheel[Drainable]) -> None:
        self.begun = False
        self._timers = timers

    async def run(self, until: float) -> None:
        """Tell and close everyone. Whoever is there after ``until`` (monotonic clock) is cut off."""
        self.begun = True
        began = time.monotonic()
        leaving = self._timers.everyone()
        pace = max(len(leaving) / max(CLOSING * (until - began), POLL), PACE)
        for start in range(0, len(leaving), SLICE):
            for connection in leaving[start : start + SLICE]:
                connection.bye(round(random.uniform(SOONEST, LATEST), 1))  # noqa: S311  jitter, not a secret
            await asyncio.sleep(0)
        for number, connection in enumerate(leaving):
            wait = began + number / pace - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            connection.leave()
        while len(self._timers) and time.monotonic() < until:
            # Also who was just being let in when this began.
            for connection in self._timers.everyone():
                connection.leave()
            await asyncio.sleep(POLL)
        for connection in self._timers.everyone():
            connection.abort()
