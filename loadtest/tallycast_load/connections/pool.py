"""The connections of one process: opened when they are due, dropped when they must, brought back.

Owns every ``Reader`` and the reasons why some could not connect. Must not know reactions.
"""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic_ns as now
from typing import Any

from tallycast_load.client.http import why
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Reader
from tallycast_load.measure.updates import NOTHING
from tallycast_load.measure.violations import ABNORMAL, LOST, Faults
from tallycast_load.plan.schedule import Drop

SECOND = 1_000_000_000
# So many connections are begun in one turn of the loop: others must have theirs.
AT_ONCE = 8
# A slow reader sleeps so long, then reads for a moment.
SLEEP, AWAKE = 2.0, 0.05
FINAL_FROM, FINAL_TO = 4500, 4999


class Crowd:
    """``ready`` is called with each connection that shows its items, and how long that took (ns); ``dropped``
    with each that is gone, and whether that was wanted here.
    """

    def __init__(
        self,
        target: Target,
        sources: list[str],
        faults: Faults,
        ready: Callable[[Reader, int], None],
        dropped: Callable[[Reader, bool], None],
    ) -> None:
        self._target = target
        self._sources = sources
        self._faults = faults
        self._ready = ready
        self._dropped = dropped
        self._tls = ssl.create_default_context() if target.tls else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.readers: dict[int, Reader] = {}
        self.up = 0
        self.reconnects = 0
        self.failures: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()
        self.given_up: set[int] = set()

    def add(self, readers: Iterable[Reader]) -> None:
        """These connections are this process's."""
        self.readers.update((reader.number, reader) for reader in readers)

    async def open_all(self, begin: int, ramp: float) -> None:
        """Open each when it is due: connection ``n`` of the run ``n / ramp`` seconds after ``begin``."""
        await self._pace((number, begin + int(number / ramp * SECOND)) for number in sorted(self.readers))

    async def drop_all(self, drops: Iterable[Drop], begin: int, ramp: float) -> None:
        """Drop connections when it is due; in a storm they come back at the ramp's rate, else at once."""
        last, back = -1.0, 0
        for turn, drop in enumerate(drops):
            at = begin + int(drop.at * SECOND)
            back = back + 1 if drop.at == last else 0
            last = drop.at
            reader = self.readers.get(drop.connection)
            if reader is None:
                continue
            await _until(at)
            if turn % AT_ONCE == 0:
                await asyncio.sleep(0)
            if reader.up and not reader.leaving:
                reader.due = at + int(back / ramp * SECOND)
                reader.leave(drop.polite)

    async def nap(self) -> None:
        """The slow readers sleep, and read for a moment now and then."""
        slow = [reader for reader in self.readers.values() if reader.sleepy]
        while slow:
            for reader in slow:
                if reader.up and reader.transport is not None:
                    reader.transport.pause_reading()
            await asyncio.sleep(SLEEP)
            self.wake(slow)
            await asyncio.sleep(AWAKE)

    def wake(self, slow: "list[Reader] | None" = None) -> None:
        """Everybody reads."""
        for reader in slow if slow is not None else self.readers.values():
            if reader.sleepy and reader.transport is not None and not reader.transport.is_closing():
                reader.transport.resume_reading()

    def arrived(self, reader: Reader) -> None:
        """A connection shows its items."""
        self.up += 1
        reader.look()
        self._ready(reader, now() - reader.due)

    def ended(self, reader: Reader, code: int | None) -> None:
        """A connection is over; ``code`` is ``None`` when that was wanted here."""
        was_up, reason, bye = reader.up, reader.why, reader.bye
        self.up -= was_up
        reader.ending()
        if self._closing:
            return
        self._dropped(reader, code is None)
        wait = 0.0
        if code is not None:
            wait = bye if bye is not None else random.uniform(0.5, 1.5)  # noqa: S311  jitter
            if was_up:
                reader.due = now()
                self.closed[code] += 1
                if code == ABNORMAL:
                    self._faults.add(LOST, f"connection {reader.number}")
                if FINAL_FROM <= code <= FINAL_TO:
                    self.given_up.add(reader.number)
                    return
            else:
                self.failures[reason or f"closed with code {code} before it was ready"] += 1
        reader.why, reader.bye = "", None
        self.reconnects += 1
        self._start(self._again(reader, wait))

    def close(self) -> None:
        """Leave, all."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for reader in self.readers.values():
            reader.leave(True)

    def shown(self) -> dict[int, dict[int, int]]:
        """How many connections show which version of which item; -1: nothing yet."""
        told: dict[int, Counter[int]] = {}
        for reader in self.readers.values():
            if reader.up:
                for item, seen in reader.shown.items():
                    told.setdefault(item, Counter())[seen.version if seen is not NOTHING else -1] += 1
        return {item: dict(versions) for item, versions in told.items()}

    async def _pace(self, dues: Iterable[tuple[int, int]]) -> None:
        started = 0
        for number, due in dues:
            if due > now():
                await _until(due)
                started = 0
            elif started >= AT_ONCE:
                await asyncio.sleep(0)
                started = 0
            started += 1
            reader = self.readers[number]
            reader.due = due
            self._start(self._again(reader, 0.0))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, reader: Reader, wait: float) -> None:
        """Connect, however often it takes."""
        if reader.due > now():
            await _until(reader.due)
        while True:
            if wait:
                await asyncio.sleep(wait)
            try:
                await self._connect(reader)
            except OSError as error:
                self.failures[why(error)] += 1
                wait = random.uniform(0.5, 1.5)  # noqa: S311
            else:
                return

    async def _connect(self, reader: Reader) -> None:
        source = self._sources[reader.number % len(self._sources)] if self._sources else None
        await asyncio.get_running_loop().create_connection(
            lambda: reader,
            self._target.address,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
            local_addr=(source, 0) if source is not None else None,
        )


async def _until(moment: int) -> None:
    wait = (moment - now()) / SECOND
    if wait > 0:
        await asyncio.sleep(wait)
