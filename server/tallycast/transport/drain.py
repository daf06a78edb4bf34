"""The end of a worker's connections when it stops.

Owns the order and the pace: ``bye`` to all at once, then one close after the other, evenly, so that the
servers that take over get no reconnect storm. Does not depend on what a connection is, beyond how it leaves.
"""

import asyncio
import random
import time

from tallycast.transport.timer_wheel import Drainable, TimerWheel

# The share of the time that the closes are spread over; the rest is for connections that close slowly.
CLOSING = 0.8
# Few connections are not spread over all of the time: at least so many close in a second.
PACE = 10.0
# Connections that are sent ``bye`` in one turn of the loop.
SLICE = 250
POLL = 0.05
# The client is asked to wait this long (s) after the close before it reconnects.
SOONEST, LATEST = 0.5, 3.0


class Drain:
    """The end of the connections in ``timers``; ``begun`` once it has."""

    def __init__(self, timers: TimerWheel[Drainable]) -> None:
        self.begun = False
        self._timers = timers

    async def run(self, until: float) -> None:
        """Close all connections; abort those that are left at ``until`` (s, monotonic clock)."""
        self.begun = True
        began = time.monotonic()
        leaving = self._timers.members()
        pace = max(len(leaving) / max(CLOSING * (until - began), POLL), PACE)
        for start in range(0, len(leaving), SLICE):
            for connection in leaving[start : start + SLICE]:
                connection.bye(round(random.uniform(SOONEST, LATEST), 1))  # noqa: S311  jitter, not a secret
            await asyncio.sleep(0)
        for number, connection in enumerate(leaving):
            wait = began + number / pace - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            connection.close_gracefully()
        while len(self._timers) and time.monotonic() < until:
            # Connections that were being accepted when this began leave, too.
            for connection in self._timers.members():
                connection.close_gracefully()
            await asyncio.sleep(POLL)
        for connection in self._timers.members():
            connection.abort()
