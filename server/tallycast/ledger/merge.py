"""Merges an anonymous visitor's reactions into an account.

Owns the order of the steps. The merge is added to the list of unfinished merges. Then the visitor is retired,
in one step: its index becomes the list of items whose reactions are to be moved, and a tombstone takes the
index's place, so that the visitor can get no new reaction. Then the items are moved in batches, each of them
atomic, and removed from the list; when that is empty, the merge is removed from the unfinished ones. With the
tombstone last instead, a reaction of another tab could be stored behind the move, and one person would be
counted twice for good.

If this is interrupted between two steps, by a crash or an engine that goes away, what was moved counts for
the account, and the rest for the visitor, which can do nothing new any more. If the account reacts to an item
of the rest, the person counts twice there until that is moved. So that no client has to ask again, every
worker looks for unfinished merges periodically, and resumes those that are idle. It retires no visitor: a
request whose client has given up must not take effect later. Does not depend on how a visitor proves which
account it is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgpack
import structlog

from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.domain.tokens import LEEWAY, LIFETIME, RENEWABLE
from tallycast.engine.scripts import Script
from tallycast.engine.store import Data
from tallycast.ledger.batch import answer
from tallycast.ledger.layout import LUA

PAGE = 100
# Merges under way in one process.
CAPACITY = 256
# How often (s) a worker looks for unfinished merges.
INTERVAL = 2.0
# How long (s) a merge must have been idle: longer than it can take from its journal entry to the deadline by
# which the visitor is retired.
IDLE_TIME = 10
# Merges that a worker resumes at a time.
MAX_RESUMED = 100
# How long (s) a tombstone is kept: no token of the visitor is accepted or renewed any more after that.
TOMBSTONE_LIFETIME = LIFETIME + RENEWABLE + 2 * LEEWAY

_RETIRE = Script(LUA, "retire.lua")
_ENLIST = Script(LUA, "enlist.lua")
_MERGE = Script(LUA, "merge.lua", "layout.lua")
_log = structlog.get_logger("merge")


@dataclass(frozen=True, slots=True)
class Merge:
    """Makes the reactions of ``visitor`` on a site those of ``account``: two members, see ``keys``.

    ``done`` is called exactly once, with the refusal if there is one.
    """

    site: str
    visitor: bytes
    account: bytes
    done: Callable[[Refusal | None], None]


def _decode(entry: bytes) -> Merge | None:
    """The merge in a journal entry; ``None`` if it is malformed: any client of the engine can write there."""
    try:
        site, visitor, account = msgpack.unpackb(entry)
        b"".join((visitor, account))  # raises unless they are bytes
        return Merge(site.decode(), visitor, account, lambda _: None)
    except (ValueError, TypeError, AttributeError):
        return None


class Merger:
    """Runs merges, each in a task of its own: it continues when its client has disconnected."""

    def __init__(self, store: Data) -> None:
        self._store = store
        self._namespace = store.namespace
        self._tasks: set[asyncio.Task[None]] = set()
        # Unfinished merges that this process resumed.
        self.resumed = 0

    def submit(self, merge: Merge) -> None:
        """Start a merge. Refuses it at once, with ``Unavailable``, when too many are under way."""
        if len(self._tasks) >= CAPACITY:
            merge.done(Unavailable("too much is waiting", retry_after=1.0))
            return
        task = asyncio.get_running_loop().create_task(self._merge_one(merge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait until all merges under way are finished."""
        await asyncio.gather(*self._tasks)

    async def run(self) -> None:
        """Resume unfinished merges periodically, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.resume_idle()
            except Unavailable:
                pass  # the next call finds them all
            except Exception:
                _log.exception("unfinished merges not resumed")

    async def resume_idle(self) -> None:
        """Resume the merges that are unfinished and idle.

        Raises:
            Unavailable: the engine did not answer.
        """
        now = await self._now()
        idle = ("-inf", now - IDLE_TIME, "LIMIT", 0, MAX_RESUMED)
        for entry in await self._store.execute("ZRANGEBYSCORE", self._namespace.merges, *idle):
            # For other workers it is not idle any more. It would be harmless if they resumed it, too.
            await self._store.execute("ZADD", self._namespace.merges, "XX", now, entry)
            merge = _decode(entry)
            if merge is None:
                _log.warning("malformed merge removed", entry=entry.hex())
            elif await self._is_retired(merge):
                self.resumed += 1
                _log.info("merge resumed", site=merge.site)
                await self._finish(merge, entry)
                continue
            await self._store.execute("ZREM", self._namespace.merges, entry)

    async def finish_pending_merges(self, site: str, account: bytes) -> int:
        """Finish every merge into ``account`` whose visitor is retired. Returns how many there were.

        Afterwards no reaction is moved to the account by a merge that was submitted before.

        Raises:
            Unavailable: not confirmed in time.
        """
        pending = {}
        async for entry in self._entries():
            merge = _decode(entry)
            # A merge whose visitor is not retired yet is left alone: it may be about to start.
            if merge and (merge.site, merge.account) == (site, account) and await self._is_retired(merge):
                pending[entry] = merge
        if pending:
            await self._store.await_deadlines()
        for entry, merge in pending.items():
            await self._finish(merge, entry)
        return len(pending)

    async def _entries(self) -> AsyncIterator[bytes]:
        """The entries of all unfinished merges: few, or none. None that exists all the while is missed."""
        cursor = 0
        while True:
            scan = ("ZSCAN", self._namespace.merges, cursor, "COUNT", PAGE)
            cursor, page = await self._store.execute(*scan)
            for entry, _ in page:
                yield entry
            if not cursor:
                return

    async def _is_retired(self, merge: Merge) -> bool:
        """Whether the visitor is retired in favour of this account."""
        index = self._namespace.index_key(merge.site, merge.visitor)
        if await self._store.execute("TYPE", index) != b"string":
            return False
        tombstone: bytes | None = await self._store.execute("GET", index)
        return tombstone == merge.account

    async def _now(self) -> int:
        seconds, _ = await self._store.execute("TIME")
        return int(seconds)

    async def _add_entry(self, merge: Merge) -> bytes:
        entry = msgpack.packb([merge.site.encode(), merge.visitor, merge.account])
        await self._store.execute("ZADD", self._namespace.merges, await self._now(), entry)
        return bytes(entry)

    async def _finish(self, merge: Merge, entry: bytes) -> None:
        while await self.move(merge):
            pass
        await self._store.execute("ZREM", self._namespace.merges, entry)

    async def _merge_one(self, merge: Merge) -> None:
        refusal: Refusal | None = None
        try:
            entry = await self._add_entry(merge)
            await self.retire(merge)
            await self._finish(merge, entry)
        except Refusal as error:
            refusal = error
        except Exception:
            _log.exception("merge failed")
            refusal = Unavailable("the merge failed", retry_after=1.0)
        answer(merge.done, refusal)

    async def retire(self, merge: Merge) -> None:
        """Retire the visitor.

        Raises:
            Unauthorized: another account came first.
            Unavailable: not confirmed in time.
        """
        visitor = merge.site, merge.visitor
        keys = [self._namespace.index_key(*visitor), self._namespace.taken_key(*visitor)]
        channel = self._namespace.visitor_channel(*visitor)
        if not await self._store.commit(_RETIRE, keys, merge.account, channel, TOMBSTONE_LIFETIME):
            raise Unauthorized("this anonymous visitor has become another account's")
        # From here on no item is added to the index, but the reaction to one that was added may still be
        # stored.
        await self._store.await_deadlines()

    async def move(self, merge: Merge) -> bool:
        """Move the next items. Returns ``False`` when there were none.

        Raises:
            Unavailable: not confirmed in time.
        """
        taken = self._namespace.taken_key(merge.site, merge.visitor)
        page = await self._store.execute("ZRANGE", taken, 0, PAGE - 1)
        if not page:
            return False
        # The account's index first, so that it is a superset; the list last, so that no item is missed.
        index = self._namespace.index_key(merge.site, merge.account)
        await self._store.commit(_ENLIST, [index], *page)
        keys = [self._namespace.item_key(merge.site, item.decode()) for item in page]
        groups = self._store.partition(keys)
        await asyncio.gather(*(self._move(merge, keys, page, group) for group in groups))
        await self._store.execute("ZREM", taken, *page)
        return True

    async def _move(self, merge: Merge, keys: list[bytes], items: list[bytes], group: list[int]) -> None:
        """Move the items of a group, in one step."""
        channel = self._namespace.visitor_channel(merge.site, merge.account)
        request = [merge.visitor, merge.account, channel, [items[index] for index in group]]
        packed = msgpack.packb(request, use_bin_type=False)
        arguments = packed, self._namespace.channel_suffix
        await self._store.commit(_MERGE, [keys[index] for index in group], *arguments)
