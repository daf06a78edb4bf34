"""The quota of new items.

Owns each site's budget of new items, per worker. New items stay in the engine for good, and strangers could
fill it. Only ``react.lua`` knows whether an item is new: it gets the budget, and returns what it spent. Does
not depend on what reactions are.
"""

import time
from collections.abc import Callable, Iterable

from tallycast.domain.sites import Site


class NewItemQuota:
    """A token bucket for each site. ``clock`` returns seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each site's bucket is full again.
        self._full_at: dict[str, float] = {}

    def remaining(self, site: Site) -> int:
        """How many new items the site may have now."""
        return site.limits.new_items.left(*self._bucket(site))

    def spend(self, sites: Iterable[Site], numbers: Iterable[int]) -> None:
        """Take as many new items from the budget of each site."""
        for site, number in zip(sites, numbers, strict=True):
            if number:
                self._full_at[site.name] = site.limits.new_items.spend(*self._bucket(site), number)

    def _bucket(self, site: Site) -> tuple[float, float]:
        return self._full_at.get(site.name, 0.0), self._clock()
