"""The reactions of one visitor on a site: listed, or erased.

Owns the scan of the visitor's index of items. The index is a superset of the reactions, so each item is read.
Does not depend on how reactions are stored, nor on the service that asks for them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.engine.store import Data
from tallycast.ledger.batch import answered
from tallycast.ledger.layout import LUA
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import PUBLISHER, Committed, SetReaction

# Entries of an index that are read at a time, and items that are read in one query.
LISTED, PAGE = 5000, 100

_FORGET = Script(LUA, "forget.lua")


class VisitorReactions:
    """Lists and erases reactions.

    Args:
        read: the reader's ``submit``.
        write: the writer's ``submit``.
        finish_pending_merges: the merger's. Reactions still to be moved to a visitor are the visitor's, too.
    """

    def __init__(
        self,
        store: Data,
        read: Callable[[Query], None],
        write: Callable[[SetReaction], None],
        finish_pending_merges: Callable[[str, bytes], Awaitable[int]],
    ) -> None:
        self._store = store
        self._namespace = store.namespace
        self._read = read
        self._write = write
        self._finish_pending_merges = finish_pending_merges

    async def pages(self, site: Site, visitor: str) -> AsyncIterator[list[tuple[str, State]]]:
        """Every item on which ``visitor`` holds a reaction, with its state, in pages that may be empty.

        An item with a new reaction in the meantime is listed again at the end.

        Raises:
            Unauthorized: the visitor is retired.
            Unavailable: the engine did not answer in time.
        """
        await self._finish_pending_merges(site.name, keys.member(visitor))
        async for page, _ in self._walk(site, visitor):
            yield page

    async def erase(self, site: Site, visitor: str) -> int:
        """Clear every reaction of ``visitor``, and erase its index. Returns the number of reactions.

        When interrupted, a part is done, and a repetition does the rest: an item leaves the index only after
        its reaction was cleared. An interrupted merge restores nothing later.

        Raises:
            Unauthorized: the visitor is retired.
            Unavailable: not confirmed in time.
        """
        member = keys.member(visitor)
        await self._finish_pending_merges(site.name, member)
        erased = await self._erase(site, visitor, member)
        while await self._finish_pending_merges(site.name, member):
            erased += await self._erase(site, visitor, member)  # Another merge began in the meantime.
        return erased

    async def _erase(self, site: Site, visitor: str, member: bytes) -> int:
        index = self._namespace.index_key(site.name, member)
        erased = 0
        async for held, entries in self._walk(site, visitor, settled=True):
            await asyncio.gather(*(self._clear(site, item, member) for item, _ in held))
            await self._store.run(_FORGET, [index], *(word for entry in entries for word in entry))
            erased += len(held)
        return erased

    async def _clear(self, site: Site, item: str, member: bytes) -> Committed:
        return await answered(
            lambda done: self._write(SetReaction(site, item, member, None, PUBLISHER, done))
        )

    async def _walk(
        self, site: Site, visitor: str, *, settled: bool = False
    ) -> AsyncIterator[tuple[list[tuple[str, State]], list[tuple[bytes, bytes]]]]:
        """The pages of the index: the reactions, and all entries with their times.

        ``settled``: an item without a reaction gets none later, unless its entry gets another time.
        """
        # A retired visitor has no index; only the reader reports it.
        await self._states(site, [], visitor)
        index = self._namespace.index_key(site.name, keys.member(visitor))
        async for listed in self._entries(index):
            if settled:
                await self._store.await_deadlines()
            for at in range(0, len(listed), PAGE):
                entries = listed[at : at + PAGE]
                items = [item.decode() for item, _ in entries]
                states = zip(items, await self._states(site, items, visitor), strict=True)
                yield [(item, state) for item, state in states if state.reaction is not None], entries

    async def _states(self, site: Site, items: list[str], visitor: str) -> list[State]:
        return await answered(lambda done: self._read(Query(site, items, visitor, done)))

    async def _entries(self, index: bytes) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """The items of an index with their times, the oldest first.

        In this order no lasting entry is missed, whatever is added and removed in the meantime.
        """
        after = b"-inf"
        while page := await self._range(index, after, b"+inf", "LIMIT", 0, LISTED):
            # Entries of one batch or import have the same time, which the end of a page must not divide.
            last = page[-1][1]
            yield [entry for entry in page if entry[1] != last] + await self._range(index, last, last)
            after = b"(" + last

    async def _range(
        self, index: bytes, first: bytes, last: bytes, *limit: str | int
    ) -> list[tuple[bytes, bytes]]:
        flat = await self._store.execute("ZRANGEBYSCORE", index, first, last, "WITHSCORES", *limit)
        return list(zip(flat[::2], flat[1::2], strict=True))
