"""How many new items there may be.

Owns each site's budget of them, one worker's. New items stay in the engine for good, and strangers could fill
it. Whether an item is new only ``react.lua`` knows: it is told how many there may be, and says how many came
to be. Must not know what a wish is.
"""

import time
from collections.abc import Callable, Iterable

from tallycast.domain.sites import Site


class NewItemQuota:
    """``clock`` gives seconds and only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each site's bucket is full again.
        self._full_at: dict[str, float] = {}

    def room(self, site: Site) -> int:
        """How many new items the site may have now."""
        return site.limits.new_items.left(*self._bucket(site))

    def made(self, sites: Iterable[Site], numbers: Iterable[int]) -> None:
        """So many came to be on each."""
        for site, number in zip(sites, numbers, strict=True):
            if number:
                self._full_at[site.name] = site.limits.new_items.spend(*self._bucket(site), number)

    def _bucket(self, site: Site) -> tuple[float, float]:
        return self._full_at.get(site.name, 0.0), self._clock()
