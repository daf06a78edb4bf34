"""Log lines about refused tokens of publishers: more than clients are told, so that operators can fix them.

Owns their rate. A line names a claim, what was found and what was expected, never a token or a visitor. Does
not depend on how tokens are verified.
"""

import math
from collections.abc import Callable

import structlog

from tallycast.domain.sites import Site

# Seconds between lines about the same claim of the same site.
INTERVAL = 60.0

_log = structlog.get_logger("tokens")


class TokenLog:
    """The log of one process; ``clock`` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By site and claim: when the last line was written, and how many were suppressed since.
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def refused(self, site: Site, claim: str, found: str, expected: str) -> None:
        """Log a refusal, unless there was a line about the same claim lately; then count it."""
        now = self._clock()
        at, suppressed = self._last.get((site.name, claim), (-math.inf, 0))
        if abs(now - at) < INTERVAL:
            self._last[site.name, claim] = at, suppressed + 1
            return
        self._last[site.name, claim] = now, 0
        more = {"suppressed": suppressed} if suppressed else {}
        _log.warning("token refused", site=site.name, claim=claim, found=found, expected=expected, **more)
