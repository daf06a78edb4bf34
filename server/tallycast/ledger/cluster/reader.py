"""Reads stored state on a cluster: one script for each item, and one for the visitor's index.

Owns the tasks that wait for them. Does not depend on why it is read.
"""

import asyncio
from collections.abc import Sequence

import msgpack

from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine import keys
from tallycast.engine.store import Scripts
from tallycast.ledger.batch import answer
from tallycast.ledger.reader import CAPACITY, READ, Query, State, decode_state


class ClusterReader:
    """See ``Reader``."""

    def __init__(self, store: Scripts) -> None:
        self._store = store
        self._namespace = store.namespace
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    def submit(self, query: Query) -> None:
        """See ``Reader``."""
        if self._closed or self._waiting + query.weight > CAPACITY:
            query.refuse(Unavailable("too much is waiting", retry_after=1.0))
            return
        self._waiting += query.weight
        task = asyncio.get_running_loop().create_task(self._answer(query))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """See ``Reader``."""
        self._closed = True
        await asyncio.gather(*self._tasks)

    async def _answer(self, query: Query) -> None:
        try:
            states = await self._read(query)
        except Refusal as refusal:
            answer(query.refuse, refusal)
        else:
            answer(query.done, states)
        finally:
            self._waiting -= query.weight

    async def _read(self, query: Query) -> list[State]:
        site = query.site.name
        member = keys.member(query.visitor) if query.visitor is not None else b""
        items = (self._namespace.item_key(site, item) for item in query.items)
        calls = [self._run([item], member) for item in items]
        if member:
            calls.append(self._run([self._namespace.index_key(site, member)]))
        # All of them are awaited, so that none fails without being noticed.
        replies = await asyncio.gather(*calls, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        if member and replies.pop()[1]:  # type: ignore[index]
            raise Unauthorized("this anonymous visitor has become an account")
        return [decode_state(query.site, *answers) for answers, _ in replies]  # type: ignore[misc]

    async def _run(self, script_keys: Sequence[bytes], *members: bytes) -> tuple[list[bytes], bool]:
        """Run ``read.lua``: an item's stored state and the member's kind, or whether one is retired."""
        reply = await self._store.run(READ, script_keys, *members)
        _, answers, retired = msgpack.unpackb(reply, raw=True)
        return answers, any(retired)
