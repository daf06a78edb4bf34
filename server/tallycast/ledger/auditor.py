"""Audits all items, slowly and over and over, in the background.

Owns who of all workers does it, and the pace: it works for a hundredth of the time. What it finds goes to the
log, with both numbers, and into its counters. An item that a reaction showed to be wrong does not wait for
its turn: the worker that met it audits it at once. Must not know how an item is audited.
"""

import asyncio
import time
from secrets import token_hex

import structlog

from tallycast.contract.errors import Unavailable
from tallycast.engine.store import Store
from tallycast.ledger import audit
from tallycast.ledger.audit import Finding, Outcome

# Of its time.
SHARE = 0.01
LONGEST_REST = 15.0
# Whoever audits says so, for so long (s), again and again; when a round is done, nobody does for a while.
LEASE = 60
REST = 3600
LOOK_EVERY = 15.0
SUSPECTS_EVERY = 0.5

_log = structlog.get_logger("auditor")


class _ReplacedError(Exception):
    """It took too long, and another took over."""


class Auditor:
    """Counts items ``checked``, ``repairs``, items that ``failed`` to be, and old buckets ``swept``."""

    def __init__(self, store: Store) -> None:
        self.checked = 0
        self.repairs = 0
        self.failed = 0
        self.swept = 0
        self._store = store
        self._namespace = store.namespace
        self._name = token_hex(8).encode()
        self._renewed = 0.0
        self._began = 0.0

    async def run(self) -> None:
        """Audit when nobody else does, and what is suspect, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds())
            group.create_task(self._suspects())

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                lease = ("SET", self._namespace.auditor, self._name, "NX", "EX", LEASE)
                if await self._store.execute(*lease):
                    await self._round()
            except (Unavailable, _ReplacedError):
                pass  # the lease ends by itself
            except Exception:
                _log.exception("an audit failed")

    async def _suspects(self) -> None:
        suspects = self._store.health.suspects
        while True:
            await asyncio.sleep(SUSPECTS_EVERY)
            while suspects:
                name = self._namespace.parse(suspects.pop())
                if name is not None:
                    try:
                        self._take(await audit.check(self._store, name.site, name.item))
                    except Unavailable:
                        suspects.add(self._namespace.item_key(name.site, name.item))
                        break

    async def _round(self) -> None:
        self._renewed = self._began = time.monotonic()
        async for page in audit.pages(self._store):
            self.swept += await audit.sweep(self._store, page.buckets)
            await self._rest()
            for site, item in page.items:
                self._take(await audit.check(self._store, site, item, self._rest))
                await self._rest()
        await self._store.execute("SET", self._namespace.auditor, b"", "EX", REST)

    def _take(self, found: Finding) -> None:
        if found.outcome is Outcome.FAILED:
            self.failed += 1
            _log.error("an item could not be audited", site=found.site, item=found.item)
            return
        self.checked += 1
        if found.outcome is Outcome.REPAIRED:
            self.repairs += 1
            _log.error(
                "counts were not the membership; repaired",
                site=found.site,
                item=found.item,
                stored=found.stored,
                counted=found.counted,
            )

    async def _rest(self) -> None:
        """Rest after the work since the last rest.

        Raises:
            _ReplacedError: this is not the one who audits any more.
        """
        now = time.monotonic()
        if now - self._renewed > LEASE / 4:
            if await self._store.execute("GET", self._namespace.auditor) != self._name:
                raise _ReplacedError
            await self._store.execute("SET", self._namespace.auditor, self._name, "EX", LEASE)
            self._renewed = now
        await asyncio.sleep(min((now - self._began) * (1 / SHARE - 1), LONGEST_REST))
        self._began = time.monotonic()
