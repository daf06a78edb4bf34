"""Group commit by key: what arrives for one key while its batch is in flight rides the next one.

Owns the queues and their common bound. Entries of one key are sent in the order they came; keys do not wait
for one another, so that a node that stands still holds up nobody else's. Must not know what an entry is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

import structlog

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.ledger.batch import E, refuse

_log = structlog.get_logger("ledger")


class KeyedBatcher(Generic[E]):
    """Sends the entries of each key in batches of up to ``most``; ``room`` bounds what waits, over all keys.

    ``send`` answers every entry it was given, or raises. Entries weigh 1 here.
    """

    def __init__(self, send: Callable[[bytes, list[E]], Awaitable[None]], *, most: int, room: int) -> None:
        self._send = send
        self._most = most
        self._room = room
        self._waiting: dict[bytes, list[E]] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, key: bytes, entry: E) -> None:
        """Queue an entry. Refuses it at once, with ``Unavailable``, when there is no room."""
        if self._closed or self._count >= self._room:
            entry.refuse(Unavailable("too much is waiting", retry_after=1.0))
            return
        self._count += 1
        if key in self._waiting:
            self._waiting[key].append(entry)
            return
        self._waiting[key] = [entry]
        task = asyncio.get_running_loop().create_task(self._run(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Refuse what comes from now on, and wait for what is under way."""
        self._closed = True
        await asyncio.gather(*self._tasks)

    async def _run(self, key: bytes) -> None:
        while waiting := self._waiting[key]:
            batch, self._waiting[key] = waiting[: self._most], waiting[self._most :]
            self._count -= len(batch)
            try:
                await self._send(key, batch)
            except Refusal as refusal:
                # Its node is gone or stands still: nobody waits a second time for that.
                batch += self._waiting[key]
                self._count -= len(self._waiting[key])
                self._waiting[key] = []
                refuse(batch, refusal)
            except Exception:
                _log.exception("a batch failed")
                refuse(batch, Unavailable("the batch failed", retry_after=1.0))
        del self._waiting[key]
