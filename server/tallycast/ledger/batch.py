"""Group commit: what arrives while a batch is in flight rides the next one.

Owns the queue and its bound. The first entry leaves at once; under load batches grow by themselves. Must not
know what an entry is. Every entry is answered exactly once, by ``send`` or, when that fails, with the refusal
it raised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from tallycast.contract.errors import Refusal, Unavailable

_log = structlog.get_logger("ledger")


class Entry(Protocol):
    """Something to be sent. ``weight`` is how much of a batch it fills."""

    @property
    def weight(self) -> int:
        """At least 1."""

    def refuse(self, refusal: Refusal) -> None:
        """It was not confirmed."""


E = TypeVar("E", bound=Entry)
Answer = TypeVar("Answer")


class Batcher(Generic[E]):
    """Sends entries in batches of up to ``most`` by weight, one batch at a time, in the order they came.

    ``room`` bounds what waits, by weight. ``send`` answers every entry it was given, or raises.
    """

    def __init__(self, send: Callable[[Sequence[E]], Awaitable[None]], *, most: int, room: int) -> None:
        self._send = send
        self._most = most
        self._room = room
        self._waiting: list[E] = []
        self._weight = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def submit(self, entry: E) -> None:
        """Queue an entry. Refuses it at once, with ``Unavailable``, when there is no room."""
        if self._closed or self._weight + entry.weight > self._room:
            entry.refuse(Unavailable("too much is waiting", retry_after=1.0))
            return
        self._waiting.append(entry)
        self._weight += entry.weight
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Refuse what comes from now on, and wait for what is under way."""
        self._closed = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._send(batch)
                except Refusal as refusal:
                    # The engine is gone or stands still: nobody waits a second time for that.
                    batch += self._waiting
                    self._waiting, self._weight = [], 0
                    refuse(batch, refusal)
                except Exception:
                    _log.exception("a batch failed")
                    refuse(batch, Unavailable("the batch failed", retry_after=1.0))
        finally:
            self._task = None

    def _take(self) -> list[E]:
        weight = taken = 0
        for entry in self._waiting:
            if taken and weight + entry.weight > self._most:
                break
            weight += entry.weight
            taken += 1
        batch = self._waiting[:taken]
        del self._waiting[:taken]
        self._weight -= weight
        return batch


def answer(done: Callable[[Answer], None], value: Answer) -> None:
    """Give an answer to who waits for it; a defect there must not cost the others theirs."""
    try:
        done(value)
    except Exception:
        _log.exception("an answer could not be taken")


async def answered(ask: Callable[[Callable[[Answer | Refusal], None]], None]) -> Answer:
    """Wait for what a plain callback is given; a refusal is raised."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | Refusal) -> None:
        if future.done():
            return  # who asked has gone
        if isinstance(answer, Refusal):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    ask(done)
    return await future


def refuse(entries: Sequence[Entry], refusal: Refusal) -> None:
    """Refuse all of these."""
    for entry in entries:
        answer(entry.refuse, refusal)
