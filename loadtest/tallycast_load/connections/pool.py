"""The connections of one process: opened on schedule, dropped on purpose, reconnected.

Owns every ``Connection`` and counts why connections failed. Does not depend on reactions.
"""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic_ns as now
from typing import Any

from tallycast_load.client.http import describe_error
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Connection
from tallycast_load.measure.updates import NO_UPDATE
from tallycast_load.measure.violations import ABNORMAL, LOST, Violations
from tallycast_load.plan.schedule import Drop

SECOND = 1_000_000_000
# Connections begun or dropped in one turn of the loop, so that other work gets its turn.
BATCH = 8
# A slow connection pauses for so long, then reads for a moment (s).
PAUSE, READ = 2.0, 0.05
# Close codes after which clients do not reconnect.
FINAL_FROM, FINAL_TO = 4500, 4999


class ConnectionPool:
    """Opens, drops and reconnects connections.

    ``on_ready`` is called with each connection that shows its items, and how long that took (ns);
    ``on_dropped`` with each that was lost, and whether the pool dropped it on purpose.
    """

    def __init__(
        self,
        target: Target,
        sources: list[str],
        violations: Violations,
        on_ready: Callable[[Connection, int], None],
        on_dropped: Callable[[Connection, bool], None],
    ) -> None:
        self._target = target
        self._sources = sources
        self._violations = violations
        self._on_ready = on_ready
        self._on_dropped = on_dropped
        self._tls = ssl.create_default_context() if target.tls else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.connections: dict[int, Connection] = {}
        self.up = 0
        self.reconnects = 0
        self.failures: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()
        self.closed_for_good: set[int] = set()

    def add(self, connections: Iterable[Connection]) -> None:
        """Add connections that are opened later."""
        self.connections.update((connection.number, connection) for connection in connections)

    async def open_all(self, begin: int, ramp: float) -> None:
        """Open each on schedule: connection ``n`` of the run ``n / ramp`` seconds after ``begin`` (ns)."""
        await self._open_on_schedule(
            (number, begin + int(number / ramp * SECOND)) for number in sorted(self.connections)
        )

    async def drop_all(self, drops: Iterable[Drop], begin: int, ramp: float) -> None:
        """Drop connections on schedule; after a storm they reconnect at the ramp's rate, else at once."""
        last, in_storm = -1.0, 0
        for turn, drop in enumerate(drops):
            at = begin + int(drop.at * SECOND)
            in_storm = in_storm + 1 if drop.at == last else 0
            last = drop.at
            connection = self.connections.get(drop.connection)
            if connection is None:
                continue
            await _sleep_until(at)
            if turn % BATCH == 0:
                await asyncio.sleep(0)
            if connection.up and not connection.closing:
                connection.due = at + int(in_storm / ramp * SECOND)
                connection.disconnect(drop.clean)

    async def run_slow(self) -> None:
        """Pause the slow connections, and let them read for a moment now and then."""
        slow = [connection for connection in self.connections.values() if connection.slow]
        while slow:
            for connection in slow:
                if connection.up and connection.transport is not None:
                    connection.transport.pause_reading()
            await asyncio.sleep(PAUSE)
            self.resume_slow()
            await asyncio.sleep(READ)

    def resume_slow(self) -> None:
        """Let the slow connections read."""
        for connection in self.connections.values():
            transport = connection.transport
            if connection.slow and transport is not None and not transport.is_closing():
                transport.resume_reading()

    def on_ready(self, connection: Connection) -> None:
        """Count a connection that shows its items."""
        self.up += 1
        connection.update_fast_path()
        self._on_ready(connection, now() - connection.due)

    def on_lost(self, connection: Connection, code: int | None) -> None:
        """Count a connection that ended, and reconnect it. ``code`` is None when the pool dropped it."""
        was_up, failure, retry_after = connection.up, connection.failure, connection.retry_after
        self.up -= was_up
        connection.on_disconnected()
        if self._closing:
            return
        self._on_dropped(connection, code is None)
        delay = 0.0
        if code is not None:
            delay = retry_after if retry_after is not None else random.uniform(0.5, 1.5)  # noqa: S311  jitter
            if was_up:
                connection.due = now()
                self.closed[code] += 1
                if code == ABNORMAL:
                    self._violations.add(LOST, f"connection {connection.number}")
                if FINAL_FROM <= code <= FINAL_TO:
                    self.closed_for_good.add(connection.number)
                    return
            else:
                self.failures[failure or f"closed with code {code} before it was ready"] += 1
        connection.failure, connection.retry_after = "", None
        self.reconnects += 1
        self._start(self._connect_with_retries(connection, delay))

    def close(self) -> None:
        """Close all connections, and open none."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for connection in self.connections.values():
            connection.disconnect(True)

    def shown_versions(self) -> dict[int, dict[int, int]]:
        """How many connections show which version of which item; -1: none yet."""
        shown: dict[int, Counter[int]] = {}
        for connection in self.connections.values():
            if connection.up:
                for item, update in connection.shown.items():
                    version = update.version if update is not NO_UPDATE else -1
                    shown.setdefault(item, Counter())[version] += 1
        return {item: dict(versions) for item, versions in shown.items()}

    async def _open_on_schedule(self, schedule: Iterable[tuple[int, int]]) -> None:
        started = 0
        for number, due in schedule:
            if due > now():
                await _sleep_until(due)
                started = 0
            elif started >= BATCH:
                await asyncio.sleep(0)
                started = 0
            started += 1
            connection = self.connections[number]
            connection.due = due
            self._start(self._connect_with_retries(connection, 0.0))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_with_retries(self, connection: Connection, delay: float) -> None:
        if connection.due > now():
            await _sleep_until(connection.due)
        while True:
            if delay:
                await asyncio.sleep(delay)
            try:
                await self._connect(connection)
            except OSError as error:
                self.failures[describe_error(error)] += 1
                delay = random.uniform(0.5, 1.5)  # noqa: S311
            else:
                return

    async def _connect(self, connection: Connection) -> None:
        source = self._sources[connection.number % len(self._sources)] if self._sources else None
        await asyncio.get_running_loop().create_connection(
            lambda: connection,
            self._target.address,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
            local_addr=(source, 0) if source is not None else None,
        )


async def _sleep_until(moment: int) -> None:
    delay = (moment - now()) / SECOND
    if delay > 0:
        await asyncio.sleep(delay)
