"""Group commit by key: entries of one key that arrive while its batch is in flight go into its next one.

Owns the queues and their common bound. Entries of one key are sent in the order of arrival; keys do not wait
for one another, so that a node that is stopped delays only its own. Does not depend on what an entry is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

import structlog

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.ledger.batch import E, refuse

_log = structlog.get_logger("ledger")


class KeyedBatcher(Generic[E]):
    """Sends the entries of each key in batches, one at a time. Every entry weighs 1.

    Args:
        send: answers every entry of a key's batch, or raises.
        max_weight: of a batch.
        capacity: the number of entries that may wait, over all keys.
    """

    def __init__(
        self, send: Callable[[bytes, list[E]], Awaitable[None]], *, max_weight: int, capacity: int
    ) -> None:
        self._send = send
        self._max_weight = max_weight
        self._capacity = capacity
        self._waiting: dict[bytes, list[E]] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, key: bytes, entry: E) -> None:
        """Queue an entry. Refuses it at once, with ``Unavailable``, when the queues are full."""
        if self._closed or self._count >= self._capacity:
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
        """Refuse further entries, and wait until the queued ones are answered."""
        self._closed = True
        await asyncio.gather(*self._tasks)

    async def _run(self, key: bytes) -> None:
        while waiting := self._waiting[key]:
            batch, self._waiting[key] = waiting[: self._max_weight], waiting[self._max_weight :]
            self._count -= len(batch)
            try:
                await self._send(key, batch)
            except Refusal as refusal:
                # The node is away or stopped. What waits now is refused with it, so that no entry waits for
                # two timeouts.
                batch += self._waiting[key]
                self._count -= len(self._waiting[key])
                self._waiting[key] = []
                refuse(batch, refusal)
            except Exception:
                _log.exception("batch failed")
                refuse(batch, Unavailable("the batch failed", retry_after=1.0))
        del self._waiting[key]
