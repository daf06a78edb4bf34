"""The server's own Prometheus metrics, looked at every second.

Owns the asking and the adding up: samples of one metric are summed over their labels; of histograms and
summaries, what was counted and its sum. Must not know what they mean.
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
from tallycast.contract.errors import LoadError

from tallycast_load.client.http import why

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
    """What was found at ``url`` so far; ``missed``: how often it did not answer.

    Raises:
        LoadError: that is no address.
    """

    def __init__(self, url: str) -> None:
        self._url = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(self._url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            good = good and parts.username is None
        except ValueError:
            good = False
        if not good:
            raise LoadError(f"--metrics: expected a URL such as http://127.0.0.1:9464/metrics, not {url!r}")
        if not parts.path:
            # Where nearly everybody has them.
            self._url = parts._replace(path="/metrics").geturl()
        self.series: dict[str, Series] = {}
        self.missed = 0

    async def begin(self) -> None:
        """Find out whether there are any: better said now than after a minute of load.

        Raises:
            LoadError: there are none.
        """
        try:
            list(text_string_to_metric_families(await asyncio.to_thread(self._ask)))
        except OSError as error:
            raise LoadError(f"--metrics {self._url}: {_said(error)}") from None
        except HTTPException as error:
            raise LoadError(f"--metrics {self._url}: not an HTTP answer: {str(error).strip()}") from None
        except ValueError:
            raise LoadError(f"--metrics {self._url}: no Prometheus metrics") from None

    async def look(self, at: float) -> None:
        """Ask once; ``at`` is the time to write beside it."""
        try:
            text = await asyncio.to_thread(self._ask)
            self.take(text, at)
        except (OSError, HTTPException, ValueError):
            self.missed += 1

    def take(self, text: str, at: float) -> None:
        """Read an exposition.

        Raises:
            ValueError: it is none.
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
                # In OpenMetrics a counter's type stands at its name without the ending.
                counter = counted or family.type == "counter" or name.endswith("_total")
                kinds.setdefault(name, (family.documentation, counter))
        for name, value in totals.items():
            if math.isfinite(value):
                self.series.setdefault(name, Series(name, *kinds[name])).values.append((at, value))

    def _ask(self) -> str:
        # Its scheme was looked at when it was given.
        with urllib.request.urlopen(self._url, timeout=WITHIN) as answer:  # noqa: S310
            return str(answer.read(MOST).decode())


def _said(error: OSError) -> str:
    """Why there is no answer."""
    reason = error.reason if isinstance(error, URLError) else error
    return why(reason) if isinstance(reason, OSError) else str(error)
