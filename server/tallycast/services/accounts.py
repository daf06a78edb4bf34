"""What one visitor holds on a site: all of it listed, all of it taken back.

Owns the way through the visitor's index of items. The index is a superset of what is held, so each item is
asked. Must not know who wants it, nor how reactions are stored.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.engine.store import Store
from tallycast.ledger.batch import answered
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import PUBLISHER, Committed, SetReaction

# Entries of an index that are listed at a time, and items that are asked for in one step.
LISTED, PAGE = 5000, 100

_FORGET = Script("forget.lua")


class VisitorReactions:
    """``read`` and ``write`` are the reader's and the writer's ``submit``.

    ``finish_pending_merges`` is the merger's: what is still to be moved to a visitor is the visitor's, too.
    """

    def __init__(
        self,
        engine: Store,
        read: Callable[[Query], None],
        write: Callable[[SetReaction], None],
        finish_pending_merges: Callable[[str, bytes], Awaitable[int]],
    ) -> None:
        self._engine = engine
        self._namespace = engine.namespace
        self._read = read
        self._write = write
        self._bring_home = finish_pending_merges

    async def pages(self, site: Site, visitor: str) -> AsyncIterator[list[tuple[str, State]]]:
        """Every item on which ``visitor`` holds a reaction, with its state, in pages that may be empty.

        An item that is reacted to again meanwhile comes again at the end.

        Raises:
            Unauthorized: the visitor is retired.
            Unavailable: the engine did not answer in time.
        """
        await self._bring_home(site.name, keys.member(visitor))
        async for page, _ in self._walk(site, visitor):
            yield page

    async def erase(self, site: Site, visitor: str) -> int:
        """Take back every reaction of ``visitor``, and erase its index; how many there were.

        Interrupted, a part of it is done, and the same again does the rest: an item leaves the index only
        when nothing is held on it any more. Nothing comes back later from a merge that was cut off.

        Raises:
            Unauthorized: the visitor is retired.
            Unavailable: not confirmed in time.
        """
        who = keys.member(visitor)
        await self._bring_home(site.name, who)
        erased = await self._take_back(site, visitor, who)
        while await self._bring_home(site.name, who):
            erased += await self._take_back(site, visitor, who)  # One more was begun meanwhile.
        return erased

    async def _take_back(self, site: Site, visitor: str, who: bytes) -> int:
        index = self._namespace.index_key(site.name, who)
        erased = 0
        async for held, entries in self._walk(site, visitor, settled=True):
            await asyncio.gather(*(self._clear(site, item, who) for item, _ in held))
            await self._engine.run(_FORGET, [index], *(word for entry in entries for word in entry))
            erased += len(held)
        return erased

    async def _clear(self, site: Site, item: str, who: bytes) -> Committed:
        return await answered(lambda done: self._write(SetReaction(site, item, who, None, PUBLISHER, done)))

    async def _walk(
        self, site: Site, visitor: str, *, settled: bool = False
    ) -> AsyncIterator[tuple[list[tuple[str, State]], list[tuple[bytes, bytes]]]]:
        """The pages of the index: what is held, and the entries with their times.

        ``settled``: what is not held by then will not come to be, unless the entry gets another time.
        """
        # A retired visitor has no index; only the reader says so.
        await self._states(site, [], visitor)
        index = self._namespace.index_key(site.name, keys.member(visitor))
        async for listed in self._entries(index):
            if settled:
                await self._engine.await_deadlines()
            for at in range(0, len(listed), PAGE):
                entries = listed[at : at + PAGE]
                items = [item.decode() for item, _ in entries]
                states = zip(items, await self._states(site, items, visitor), strict=True)
                yield [(item, state) for item, state in states if state.reaction is not None], entries

    async def _states(self, site: Site, items: list[str], visitor: str) -> list[State]:
        return await answered(lambda done: self._read(Query(site, items, visitor, done)))

    async def _entries(self, index: bytes) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """The items of an index with their times, the oldest first.

        In this order none that is there all the while is missed, whatever comes and goes meanwhile.
        """
        after = b"-inf"
        while page := await self._range(index, after, b"+inf", "LIMIT", 0, LISTED):
            # Those of one batch have one time, which the end of a page must not divide; of an import all may.
            last = page[-1][1]
            yield [entry for entry in page if entry[1] != last] + await self._range(index, last, last)
            after = b"(" + last

    async def _range(
        self, index: bytes, first: bytes, last: bytes, *limit: str | int
    ) -> list[tuple[bytes, bytes]]:
        flat = await self._engine.execute("ZRANGEBYSCORE", index, first, last, "WITHSCORES", *limit)
        return list(zip(flat[::2], flat[1::2], strict=True))
