"""Audits all items in the background, slowly, and again and again.

Owns which of all workers does it, by a lease in the engine, and the pace: it works for a hundredth of the
time. What it finds goes to the log, with both numbers, and into its counters. An item that a reaction showed
to be wrong is audited at once, by the worker whose reaction it was. Does not depend on how an item is
audited.
"""

import asyncio
import time
from secrets import token_hex

import structlog

from tallycast.contract.errors import Unavailable
from tallycast.engine.store import Store
from tallycast.ledger import audit
from tallycast.ledger.audit import Finding, Outcome

# The share of the time in which it works.
DUTY_CYCLE = 0.01
MAX_PAUSE = 15.0
# How long (s) the lease lasts unless it is renewed, and the pause after an audit of all items.
LEASE = 60
FULL_AUDIT_INTERVAL = 3600
LEASE_INTERVAL = 15.0
SUSPECTS_INTERVAL = 0.5

_log = structlog.get_logger("auditor")


class _LeaseLostError(Exception):
    """The lease expired, and another worker took it."""


class Auditor:
    """Counts items ``checked``, ``repairs``, items that ``failed``."""

    def __init__(self, store: Store) -> None:
        self.checked = 0
        self.repairs = 0
        self.failed = 0
        self._store = store
        self._namespace = store.namespace
        self._name = token_hex(8).encode()
        self._renewed = 0.0
        self._began = 0.0

    async def run(self) -> None:
        """Audit all items while no other worker does, and suspect items, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._audit_all())
            group.create_task(self._audit_suspects())

    async def _audit_all(self) -> None:
        while True:
            await asyncio.sleep(LEASE_INTERVAL)
            try:
                lease = ("SET", self._namespace.auditor, self._name, "NX", "EX", LEASE)
                if await self._store.execute(*lease):
                    await self._audit_pages()
            except (Unavailable, _LeaseLostError):
                pass  # the lease expires
            except Exception:
                _log.exception("audit failed")

    async def _audit_suspects(self) -> None:
        suspects = self._store.health.suspects
        while True:
            await asyncio.sleep(SUSPECTS_INTERVAL)
            while suspects:
                name = self._namespace.parse(suspects.pop())
                if name is not None:
                    try:
                        self._record(await audit.check(self._store, name.site, name.item))
                    except Unavailable:
                        suspects.add(self._namespace.item_key(name.site, name.item))
                        break

    async def _audit_pages(self) -> None:
        self._renewed = self._began = time.monotonic()
        async for page in audit.pages(self._store):
            await audit.delete_orphan_buckets(self._store, page.buckets)
            await self._throttle()
            for site, item in page.items:
                self._record(await audit.check(self._store, site, item, self._throttle))
                await self._throttle()
        await self._store.execute("SET", self._namespace.auditor, b"", "EX", FULL_AUDIT_INTERVAL)

    def _record(self, found: Finding) -> None:
        if found.outcome is Outcome.FAILED:
            self.failed += 1
            _log.error("item not audited", site=found.site, item=found.item)
            return
        self.checked += 1
        if found.outcome is Outcome.REPAIRED:
            self.repairs += 1
            _log.error(
                "stored counts repaired",
                site=found.site,
                item=found.item,
                stored=found.stored,
                counted=found.counted,
            )

    async def _throttle(self) -> None:
        """Pause in proportion to the work since the last pause.

        Raises:
            _LeaseLostError: another worker has the lease.
        """
        now = time.monotonic()
        if now - self._renewed > LEASE / 4:
            if await self._store.execute("GET", self._namespace.auditor) != self._name:
                raise _LeaseLostError
            await self._store.execute("SET", self._namespace.auditor, self._name, "EX", LEASE)
            self._renewed = now
        await asyncio.sleep(min((now - self._began) * (1 / DUTY_CYCLE - 1), MAX_PAUSE))
        self._began = time.monotonic()
