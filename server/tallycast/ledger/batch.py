"""Group commit: entries that arrive while a batch is in flight go into the next one.

Owns the queue and its bound. The first entry is sent at once; under load batches grow by themselves. Every
entry is answered exactly once: by ``send`` or, when that fails, with the refusal it raised. Does not depend
on what an entry is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from tallycast.contract.errors import Refusal, Unavailable

_log = structlog.get_logger("ledger")


class Entry(Protocol):
    """Something to be sent. ``weight`` is its share of a batch."""

    @property
    def weight(self) -> int:
        """At least 1."""

    def refuse(self, refusal: Refusal) -> None:
        """It was not confirmed."""


E = TypeVar("E", bound=Entry)
Answer = TypeVar("Answer")


class Batcher(Generic[E]):
    """Sends entries in batches, one at a time, in the order of arrival.

    Args:
        send: answers every entry of a batch, or raises.
        max_weight: of a batch.
        capacity: the weight of all entries that may wait.
    """

    def __init__(
        self, send: Callable[[Sequence[E]], Awaitable[None]], *, max_weight: int, capacity: int
    ) -> None:
        self._send = send
        self._max_weight = max_weight
        self._capacity = capacity
        self._waiting: list[E] = []
        self._weight = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def submit(self, entry: E) -> None:
        """Queue an entry. Refuses it at once, with ``Unavailable``, when the queue is full."""
        if self._closed or self._weight + entry.weight > self._capacity:
            entry.refuse(Unavailable("too much is waiting", retry_after=1.0))
            return
        self._waiting.append(entry)
        self._weight += entry.weight
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Refuse further entries, and wait until the queued ones are answered."""
        self._closed = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                try:
                    await self._send(batch)
                except Refusal as refusal:
                    # The engine is away or stopped. What waits now is refused with it, so that no entry waits
                    # for two timeouts.
                    batch += self._waiting
                    self._waiting, self._weight = [], 0
                    refuse(batch, refusal)
                except Exception:
                    _log.exception("batch failed")
                    refuse(batch, Unavailable("the batch failed", retry_after=1.0))
        finally:
            self._task = None

    def _next_batch(self) -> list[E]:
        weight = length = 0
        for entry in self._waiting:
            if length and weight + entry.weight > self._max_weight:
                break
            weight += entry.weight
            length += 1
        batch = self._waiting[:length]
        del self._waiting[:length]
        self._weight -= weight
        return batch


def answer(done: Callable[[Answer], None], value: Answer) -> None:
    """Call a callback with its answer; an exception there must not cost other entries theirs."""
    try:
        done(value)
    except Exception:
        _log.exception("callback failed")


async def answered(submit: Callable[[Callable[[Answer | Refusal], None]], None]) -> Answer:
    """Await the answer that a plain callback gets; a refusal is raised."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | Refusal) -> None:
        if future.done():
            return  # the waiting task was cancelled
        if isinstance(answer, Refusal):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    submit(done)
    return await future


def refuse(entries: Sequence[Entry], refusal: Refusal) -> None:
    """Refuse all of these."""
    for entry in entries:
        answer(entry.refuse, refusal)
