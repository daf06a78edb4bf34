"""How the engine does: what the log and the metrics say of it.

Owns the words, and that they are not said again and again. Must not know how the engine is reached.
"""

import time

import structlog

from server.errors import OutcomeUnknown, Unavailable
from server.measures import SHORT_TIMES, Histogram

RETRY_AFTER = 2.0
COMPLAIN_EVERY = 10.0
# While it loads its data an engine answers some commands: it is only back when this (s) has passed.
SETTLED = 1.0

_log = structlog.get_logger("engine")


class Condition:
    """The condition of one engine, or of a cluster as a whole."""

    def __init__(self) -> None:
        self.round_trips = Histogram(SHORT_TIMES)
        self.failures = 0
        self._down = False
        self._announced = False
        self._complained = -COMPLAIN_EVERY

    def answered(self, began: float) -> None:
        """A reply came to what was sent then (monotonic clock)."""
        now = time.monotonic()
        self.round_trips.add(now - began)
        self._down = False
        if self._announced and now - self._complained >= SETTLED:
            self._announced = False
            _log.info("engine available again")

    def lost(self, reason: str) -> OutcomeUnknown:
        """No reply came: what is to be raised."""
        self._is_down(reason)
        return OutcomeUnknown("the engine did not confirm in time", retry_after=RETRY_AFTER)

    def away(self, reason: str) -> Unavailable:
        """There is nobody to send it to: what is to be raised."""
        self._is_down(reason)
        return Unavailable("the engine is away", retry_after=RETRY_AFTER)

    def _is_down(self, reason: str) -> None:
        self.failures += 1
        if not self._down and time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._announced = True
            self._complained = time.monotonic()
            _log.warning("engine unavailable", error=reason)
        self._down = True

    def refused(self, reason: str) -> Unavailable:
        """It answers, but refuses (no memory, read-only, not our script): what is to be raised."""
        self.failures += 1
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._complained = time.monotonic()
            _log.error("engine refuses", error=reason)
        return Unavailable("the engine refuses", retry_after=RETRY_AFTER)
