"""Whose tokens were revoked, and when.

Owns the list in the engine, a stream, and this process's copy of it. The engine stamps each entry with its
own time, which only rises: so a look for what came after the last entry known misses none, whatever was
missed before, and a process that starts reads it from the beginning. Must not know what a token is.
"""

import asyncio
from collections.abc import Callable

import structlog

from tallycast.contract.errors import Unavailable
from tallycast.domain.tokens import LEEWAY, MAX_AGE
from tallycast.engine import keys
from tallycast.engine.store import Store

LOOK_EVERY = 2.0
PAGE = 1000
# Older tokens are refused anyway.
KEEP = MAX_AGE + 2 * LEEWAY

_log = structlog.get_logger("revocations")


async def revoke(engine: Store, site: str, visitor: str) -> None:
    """Refuse, from now on and everywhere, what was issued to a visitor until now.

    Raises:
        Unavailable: the engine did not confirm.
    """
    seconds, _ = await engine.execute("TIME")
    oldest = (int(seconds) - KEEP) * 1000
    fields = ("site", site, "member", keys.member(visitor))
    await engine.execute("XADD", engine.namespace.revoked, "MINID", "~", oldest, "*", *fields)


class Revocations:
    """``heard`` is told of each new one: the site, the member, and the second (since 1970) it was made in."""

    def __init__(self, engine: Store, heard: Callable[[str, bytes, float], None]) -> None:
        self._engine = engine
        self._namespace = engine.namespace
        self._heard = heard
        self._last = "-"
        # The oldest first.
        self._times: dict[tuple[str, bytes], float] = {}

    def at(self, site: str, visitor: str) -> float | None:
        """When the visitor was last revoked (seconds since 1970), if ever."""
        if not self._times:
            return None
        return self._times.get((site, keys.member(visitor)))

    async def look(self) -> None:
        """Learn of what is new.

        Raises:
            Unavailable: the engine did not answer.
        """
        while True:
            revoked = self._namespace.revoked
            page = await self._engine.execute("XRANGE", revoked, self._last, "+", "COUNT", PAGE)
            for stamp, entry in page:
                self._learn(stamp.decode(), entry)
            if len(page) < PAGE:
                return

    async def follow(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Unavailable:
                pass  # the next look sees it all

    def _learn(self, stamp: str, entry: dict[bytes, bytes]) -> None:
        self._last = f"({stamp}"
        at = int(stamp.partition("-")[0]) / 1000
        try:
            site, who = entry[b"site"].decode(), entry[b"member"]
        except (ValueError, KeyError):  # Anyone with access to the engine can write there.
            _log.warning("not a revocation", stamp=stamp)
            return
        self._times.pop((site, who), None)
        self._times[site, who] = at
        while next(iter(self._times.values())) < at - KEEP:
            del self._times[next(iter(self._times))]
        self._heard(site, who, at)
