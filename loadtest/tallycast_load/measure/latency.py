"""HDR histograms of latencies: three significant digits, from a microsecond to two minutes.

Owns how latencies are recorded, merged and encoded. Values beyond the range are recorded as its end, values
below a microsecond as one. Does not depend on what is measured.
"""

from collections.abc import Mapping
from typing import Any

from hdrh.histogram import HdrHistogram

LONGEST = 120_000_000
DIGITS = 3


class Latencies:
    """One distribution."""

    __slots__ = ("_histogram",)

    def __init__(self, encoded: bytes | None = None) -> None:
        self._histogram: Any = (
            HdrHistogram(1, LONGEST, DIGITS) if encoded is None else HdrHistogram.decode(encoded)
        )

    def record(self, nanoseconds: int, weight: int = 1) -> None:
        """Record one measurement, or ``weight`` equal ones."""
        self._histogram.record_value(min(max(nanoseconds // 1000, 1), LONGEST), weight)

    def add(self, other: "Latencies") -> None:
        """Add all measurements of another distribution."""
        self._histogram.add(other._histogram)

    def encode(self) -> bytes:
        """Encode for ``Latencies(encoded)``."""
        encoded: bytes = self._histogram.encode()
        return encoded

    @property
    def count(self) -> int:
        """How many measurements there are."""
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> float | None:
        """Seconds at a percentile (0 to 100); None when nothing was measured."""
        if not self.count:
            return None
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e6

    def points(self, percentiles: Mapping[str, float]) -> dict[str, float | None]:
        """Seconds at each of the named percentiles."""
        return {name: self.at(percentile) for name, percentile in percentiles.items()}

    def curve(self) -> list[tuple[float, float]]:
        """The whole distribution, denser to the right: (percentile below 100, seconds)."""
        if not self.count:
            return []
        curve, left = [], 100.0
        while left > 100.0 / max(self.count, 2):
            curve.append((100.0 - left, float(self._histogram.get_value_at_percentile(100.0 - left)) / 1e6))
            left *= 0.8
        return [*curve, (100.0 - left, float(self._histogram.get_value_at_percentile(100.0)) / 1e6)]
