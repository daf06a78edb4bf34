"""Revocations: when the tokens of a visitor were last revoked.

Owns a stream in the engine, and this process's copy of it. The engine stamps each entry with its own time,
which only increases, so reading from the last known entry misses none; a process that starts reads from the
beginning. Does not depend on what a token is.
"""

import asyncio
from collections.abc import Callable

import structlog

from tallycast.contract.errors import Unavailable
from tallycast.domain.tokens import LEEWAY, MAX_AGE
from tallycast.engine import keys
from tallycast.engine.store import Store

REFRESH_INTERVAL = 2.0  # seconds
PAGE = 1000
# Seconds that an entry is kept; older tokens are refused anyway.
RETENTION = MAX_AGE + 2 * LEEWAY

_log = structlog.get_logger("revocations")


async def revoke(engine: Store, site: str, visitor: str) -> None:
    """Revoke all tokens issued to a visitor until now, on every server.

    Raises:
        Unavailable: the engine did not confirm.
    """
    seconds, _ = await engine.execute("TIME")
    oldest = (int(seconds) - RETENTION) * 1000
    fields = ("site", site, "member", keys.member(visitor))
    await engine.execute("XADD", engine.namespace.revoked, "MINID", "~", oldest, "*", *fields)


class Revocations:
    """The copy of one process.

    ``on_revoked`` is called for each new entry: the site, the member, and the time (seconds since 1970).
    """

    def __init__(self, engine: Store, on_revoked: Callable[[str, bytes, float], None]) -> None:
        self._engine = engine
        self._namespace = engine.namespace
        self._on_revoked = on_revoked
        self._last = "-"
        # The oldest first.
        self._times: dict[tuple[str, bytes], float] = {}

    def at(self, site: str, visitor: str) -> float | None:
        """When the visitor's tokens were last revoked (seconds since 1970), if ever."""
        if not self._times:
            return None
        return self._times.get((site, keys.member(visitor)))

    async def refresh(self) -> None:
        """Read the new entries.

        Raises:
            Unavailable: the engine did not answer.
        """
        while True:
            revoked = self._namespace.revoked
            page = await self._engine.execute("XRANGE", revoked, self._last, "+", "COUNT", PAGE)
            for stamp, entry in page:
                self._add(stamp.decode(), entry)
            if len(page) < PAGE:
                return

    async def run(self) -> None:
        """Refresh periodically, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_INTERVAL)
            try:
                await self.refresh()
            except Unavailable:
                pass  # the next refresh reads all of it

    def _add(self, stamp: str, entry: dict[bytes, bytes]) -> None:
        self._last = f"({stamp}"
        at = int(stamp.partition("-")[0]) / 1000
        try:
            site, member = entry[b"site"].decode(), entry[b"member"]
        except (ValueError, KeyError):  # Anyone with access to the engine can write there.
            _log.warning("revocation ignored", reason="malformed entry", stamp=stamp)
            return
        self._times.pop((site, member), None)
        self._times[site, member] = at
        while next(iter(self._times.values())) < at - RETENTION:
            del self._times[next(iter(self._times))]
        self._on_revoked(site, member, at)
