"""The log of publishers' tokens that were refused: clients are told less, and operators can mend it.

Owns its rate. A line names a claim, what is wrong with it and what was expected; never a token or a visitor.
"""

import math
from collections.abc import Callable

import structlog

from tallycast.domain.sites import Site

# Seconds between two lines about the same claim on the same site.
INTERVAL = 60.0

_log = structlog.get_logger("tokens")


class TokenLog:
    """``clock`` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # When a line was written, and how many were not since.
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def refused(self, site: Site, claim: str, found: str, expected: str) -> None:
        """Log a refusal, unless there was one for the same reason lately; those are counted."""
        now = self._clock()
        at, unlogged = self._last.get((site.name, claim), (-math.inf, 0))
        if abs(now - at) < INTERVAL:
            self._last[site.name, claim] = at, unlogged + 1
            return
        self._last[site.name, claim] = now, 0
        more = {"unlogged": unlogged} if unlogged else {}
        _log.warning("token refused", site=site.name, claim=claim, found=found, expected=expected, **more)
