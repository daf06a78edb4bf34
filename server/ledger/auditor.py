"""Audits all items, slowly and over and over, in the background.

Owns who of all workers does it, and the pace: it works for a hundredth of the time. What it finds goes to the
log, with both numbers, and into its counters. Must not know how an item is audited.
"""

import asyncio
import time
from secrets import token_hex

import structlog

from server.errors import Unavailable
from server.ledger import audit, keys
from server.ledger.audit import Finding, Outcome
from server.ledger.store import Store

# Of its time.
SHARE = 0.01
LONGEST_REST = 15.0
# Whoever audits says so, for so long (s), again and again; when a round is done, nobody does for a while.
LEASE = 60
REST = 3600
LOOK_EVERY = 15.0

_log = structlog.get_logger("auditor")


class Auditor:
    """Counts items ``checked``, ``repairs``, items ``busy`` all the while, and old buckets ``swept``."""

    def __init__(self, engine: Store) -> None:
        self.checked = 0
        self.repairs = 0
        self.busy = 0
        self.swept = 0
        self._engine = engine
        self._name = token_hex(8).encode()
        self._renewed = 0.0

    async def run(self) -> None:
        """Audit when nobody else does, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                if await self._engine.command("SET", keys.AUDITOR, self._name, "NX", "EX", LEASE):
                    await self._round()
            except Unavailable:
                pass  # the lease ends by itself
            except Exception:
                _log.exception("an audit failed")

    async def _round(self) -> None:
        self._renewed = began = time.monotonic()
        async for page in audit.pages(self._engine):
            self.swept += await audit.sweep(self._engine, page.buckets)
            if not await self._rest(began):
                return
            for site, item in page.items:
                began = time.monotonic()
                self._take(await audit.check(self._engine, site, item))
                if not await self._rest(began):
                    return
            began = time.monotonic()
        await self._engine.command("SET", keys.AUDITOR, b"", "EX", REST)

    def _take(self, found: Finding) -> None:
        self.checked += 1
        if found.outcome is Outcome.BUSY:
            self.busy += 1
        elif found.outcome is Outcome.REPAIRED:
            self.repairs += 1
            _log.error(
                "counts were not the membership; repaired",
                site=found.site,
                item=found.item,
                stored=found.stored,
                counted=found.counted,
            )

    async def _rest(self, began: float) -> bool:
        """Rest after work that began then; whether this is still the one who audits."""
        now = time.monotonic()
        if now - self._renewed > LEASE / 4:
            if await self._engine.command("GET", keys.AUDITOR) != self._name:
                return False  # It took too long, and another took over.
            await self._engine.command("SET", keys.AUDITOR, self._name, "EX", LEASE)
            self._renewed = now
        await asyncio.sleep(min((now - began) * (1 / SHARE - 1), LONGEST_REST))
        return True
