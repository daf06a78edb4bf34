"""The server's own Prometheus metrics, scraped every second.

Owns scraping and adding up: samples of one metric are summed over their labels; of histograms and summaries
there are count and sum. Does not depend on what the metrics mean.
"""

import asyncio
import math
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tallycast_load.client.http import describe_error
from tallycast_load.plan.errors import LoadError

TIMEOUT = 2.0  # s
MAX_BYTES = 2**22


@dataclass
class Series:
    """One metric over time: pairs of time and value. ``counter``: it only rises."""

    name: str
    help: str
    counter: bool
    values: list[tuple[float, float]] = field(default_factory=list)


class Metrics:
    """The series scraped at ``url`` so far; ``missed`` counts failed scrapes.

    Raises:
        LoadError: the URL is not valid.
    """

    def __init__(self, url: str) -> None:
        self._url = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(self._url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            valid = valid and parts.username is None
        except ValueError:
            valid = False
        if not valid:
            raise LoadError(f"--metrics: expected a URL such as http://127.0.0.1:9464/metrics, not {url!r}")
        if not parts.path:
            self._url = parts._replace(path="/metrics").geturl()
        self.series: dict[str, Series] = {}
        self.missed = 0

    async def check(self) -> None:
        """Check that there are metrics: better before the load than after a minute of it.

        Raises:
            LoadError: there are none.
        """
        try:
            list(text_string_to_metric_families(await asyncio.to_thread(self._get)))
        except OSError as error:
            raise LoadError(f"--metrics {self._url}: {_reason(error)}") from None
        except HTTPException as error:
            raise LoadError(
                f"--metrics {self._url}: expected an HTTP response: {str(error).strip()}"
            ) from None
        except ValueError:
            raise LoadError(f"--metrics {self._url}: expected Prometheus metrics") from None

    async def scrape(self, at: float) -> None:
        """Scrape once; ``at`` is the time of the values."""
        try:
            self.add(await asyncio.to_thread(self._get), at)
        except (OSError, HTTPException, ValueError):
            self.missed += 1

    def add(self, text: str, at: float) -> None:
        """Add the values of an exposition.

        Raises:
            ValueError: the text is not an exposition.
        """
        totals: defaultdict[str, float] = defaultdict(float)
        kinds: dict[str, tuple[str, bool]] = {}
        for family in text_string_to_metric_families(text):
            counted = family.type in ("histogram", "summary")
            for sample in family.samples:
                name = sample.name
                if (counted and not name.endswith(("_count", "_sum"))) or name.endswith("_created"):
                    continue
                totals[name] += sample.value
                # In OpenMetrics a counter's type stands at its name without the suffix.
                counter = counted or family.type == "counter" or name.endswith("_total")
                kinds.setdefault(name, (family.documentation, counter))
        for name, value in totals.items():
            if math.isfinite(value):
                self.series.setdefault(name, Series(name, *kinds[name])).values.append((at, value))

    def _get(self) -> str:
        # The scheme is checked in __init__.
        with urllib.request.urlopen(self._url, timeout=TIMEOUT) as response:  # noqa: S310
            return str(response.read(MAX_BYTES).decode())


def _reason(error: OSError) -> str:
    """Why a request failed."""
    reason = error.reason if isinstance(error, URLError) else error
    return describe_error(reason) if isinstance(reason, OSError) else str(error)
