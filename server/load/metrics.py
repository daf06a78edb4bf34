"""The server's own Prometheus metrics, looked at every second.

Owns the asking and the adding up: samples of one metric are summed over their labels. Must not know what
they mean.
"""

import asyncio
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

WITHIN = 2.0
MOST = 2**22


@dataclass
class Series:
    """One metric over time. ``counter``: it only rises, its rate is of interest."""

    name: str
    help: str
    counter: bool
    values: list[tuple[float, float]] = field(default_factory=list)


class Metrics:
    """What was found at ``url`` so far; ``missed``: how often it did not answer."""

    def __init__(self, url: str) -> None:
        self._url = url if "://" in url else f"http://{url}"
        self.series: dict[str, Series] = {}
        self.missed = 0

    async def look(self, at: float) -> None:
        """Ask once; ``at`` is the time to write beside it."""
        try:
            text = await asyncio.to_thread(self._ask)
            self.take(text, at)
        except (OSError, ValueError):
            self.missed += 1

    def take(self, text: str, at: float) -> None:
        """Read an exposition.

        Raises:
            ValueError: it is none.
        """
        for family in text_string_to_metric_families(text):
            if family.type not in ("counter", "gauge", "unknown"):
                continue
            totals: defaultdict[str, float] = defaultdict(float)
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    totals[sample.name] += sample.value
            for name, value in totals.items():
                series = self.series.setdefault(
                    name, Series(name, family.documentation, family.type == "counter")
                )
                series.values.append((at, value))

    def _ask(self) -> str:
        request = urllib.request.Request(self._url)  # noqa: S310  http and https only, checked below
        if not self._url.startswith(("http://", "https://")):
            raise ValueError("not a web address")
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:  # noqa: S310
            return str(answer.read(MOST).decode())
