"""Thresholds on what was measured: ``p99<50ms``, ``ack.max<1s``, ``errors<1%``.

Pure. Without the name of a distribution a threshold is one of ``update``: reaction → others.
"""

import re
from typing import NamedTuple

from tallycast_load.plan import units

DISTRIBUTIONS = ("ack", "update", "connect")
POINTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
EXPECTED = "something like p99<50ms, ack.p99.9<=200ms, connect.max<2s or errors<1%"

_FORMAT = re.compile(
    r"(?:(?:(ack|update|connect)\.)?(p50|p90|p99|p99\.9|max)|(errors))\s*(<=?)\s*(.+)", re.IGNORECASE
)


class Threshold(NamedTuple):
    """``distribution`` at ``percentile`` stays below ``limit`` (s); ``errors``: a share of the
    reactions that were due."""

    text: str
    distribution: str
    percentile: float
    limit: float
    inclusive: bool

    @classmethod
    def parse(cls, text: object) -> "Threshold":
        """Parse a threshold; raises ``ValueError``."""
        found = _FORMAT.fullmatch(str(text).strip())
        if found is None:
            raise ValueError("not a threshold")
        distribution, point, errors, sign, amount = found.groups()
        if amount[-1].isdigit():
            # Fifty would be seconds, and always hold.
            raise ValueError("no unit")
        inclusive = sign == "<="
        if errors:
            return cls(str(text).strip(), "errors", 0.0, units.share(amount), inclusive)
        limit = units.duration(amount)
        return cls(
            str(text).strip(),
            (distribution or "update").lower(),
            POINTS[point.lower()],
            limit,
            inclusive,
        )

    def holds(self, value: float | None) -> bool:
        """Whether a measured value holds; None, nothing measured, does not."""
        if value is None:
            return False
        return value <= self.limit if self.inclusive else value < self.limit

    def shown(self, value: float | None) -> str:
        """Format a value in the unit of this threshold."""
        if value is None:
            return "nothing measured"
        return units.show_share(value) if self.distribution == "errors" else units.show_time(value)
