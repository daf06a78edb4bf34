"""Moves an anonymous visitor's reactions to an account.

Owns the order of the steps. The merge is noted among the unfinished ones. Then the visitor is retired, in
one step: its index becomes the list of what is to be moved, and a mark takes the index's place, so that it
can come to hold nothing more. Then the items are moved in batches, each of them atomic, and taken off the
list; when that is empty, the note goes, too. With the mark last instead, a reaction of another tab could
slip in behind the move, and one person would be counted twice for good.

Interrupted between two steps, by a crash or an engine that goes away, what was moved counts for the
account, and the rest for the visitor, who can do nothing new any more. If the account reacts to an item of
the rest, the person counts twice there until that is moved. So nobody has to ask again: every worker looks
for unfinished merges now and then, and goes on with those that rest. It retires nobody: what nobody waits
for any more must not take effect later.
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

PAGE = 100
# Merges under way in one process.
ROOM = 256
# How often (s) a worker looks for unfinished merges, and for how long nobody must have been at one: longer
# than it can take from the note to the last moment at which the visitor may be retired.
LOOK_EVERY, LEFT_ALONE = 2.0, 10
# Merges that a worker goes on with in one look.
MOST = 100
# No token of the visitor's is taken any more after so long (s), nor renewed.
KEEP = LIFETIME + RENEWABLE + 2 * LEEWAY

_RETIRE = Script("retire.lua")
_ENLIST = Script("enlist.lua")
_MERGE = Script("merge.lua", "layout.lua")
_log = structlog.get_logger("merge")


@dataclass(frozen=True, slots=True)
class Merge:
    """What ``visitor`` holds on a site becomes ``account``'s: two members, as in ``keys``.

    ``done`` is called exactly once, with the refusal if there is one.
    """

    site: str
    visitor: bytes
    account: bytes
    done: Callable[[Refusal | None], None]


def _noted(note: bytes) -> Merge | None:
    """The merge that a note is of. Anyone with access to the engine can write there."""
    try:
        site, visitor, account = msgpack.unpackb(note)
        b"".join((visitor, account))  # Raises, unless they are bytes.
        return Merge(site.decode(), visitor, account, lambda _: None)
    except (ValueError, TypeError, AttributeError):
        return None


class Merger:
    """Does merges, each in a task: it goes on when whoever asked for it has gone."""

    def __init__(self, store: Data) -> None:
        self._store = store
        self._namespace = store.namespace
        self._tasks: set[asyncio.Task[None]] = set()
        # Merges that were left unfinished, and that this process went on with.
        self.resumed = 0

    def submit(self, merge: Merge) -> None:
        """Start it. Refused at once, with ``Unavailable``, when there are too many."""
        if len(self._tasks) >= ROOM:
            merge.done(Unavailable("too much is waiting", retry_after=1.0))
            return
        task = asyncio.get_running_loop().create_task(self._run(merge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks)

    async def follow(self) -> None:
        """Go on with unfinished merges, now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Unavailable:
                pass  # the next look sees them all
            except Exception:
                _log.exception("unfinished merges cannot be gone on with")

    async def look(self) -> None:
        """Go on with the merges that were left unfinished.

        Raises:
            Unavailable: the engine did not answer.
        """
        now = await self._now()
        idle = ("-inf", now - LEFT_ALONE, "LIMIT", 0, MOST)
        for note in await self._store.execute("ZRANGEBYSCORE", self._namespace.merges, *idle):
            # For other workers it is not idle any more. It would be harmless if they took it up, too.
            await self._store.execute("ZADD", self._namespace.merges, "XX", now, note)
            merge = _noted(note)
            if merge is None:
                _log.warning("not a merge", note=note.hex())
            elif await self._begun(merge):
                self.resumed += 1
                _log.info("going on with a merge that was cut off", site=merge.site)
                await self._finish(merge, note)
                continue
            await self._store.execute("ZREM", self._namespace.merges, note)

    async def finish_pending_merges(self, site: str, account: bytes) -> int:
        """Finish every merge into ``account`` whose visitor is retired, cut off or under way; how many.

        Afterwards nothing comes to the account from a merge that was begun before.

        Raises:
            Unavailable: not confirmed in time.
        """
        begun = {}
        async for note in self._notes():
            merge = _noted(note)
            # What is not begun is not begun here, and its note stays: it may be about to.
            if merge and (merge.site, merge.account) == (site, account) and await self._begun(merge):
                begun[note] = merge
        if begun:
            await self._store.await_deadlines()
        for note, merge in begun.items():
            await self._finish(merge, note)
        return len(begun)

    async def _notes(self) -> AsyncIterator[bytes]:
        """The notes of all unfinished merges: few, or none. What is noted all the while is among them."""
        cursor = 0
        while True:
            scan = ("ZSCAN", self._namespace.merges, cursor, "COUNT", PAGE)
            cursor, page = await self._store.execute(*scan)
            for note, _ in page:
                yield note
            if not cursor:
                return

    async def _begun(self, merge: Merge) -> bool:
        """Whether the visitor is retired in favour of that account."""
        index = self._namespace.index_key(merge.site, merge.visitor)
        if await self._store.execute("TYPE", index) != b"string":
            return False
        became: bytes | None = await self._store.execute("GET", index)
        return became == merge.account

    async def _now(self) -> int:
        seconds, _ = await self._store.execute("TIME")
        return int(seconds)

    async def _note(self, merge: Merge) -> bytes:
        note = msgpack.packb([merge.site.encode(), merge.visitor, merge.account])
        await self._store.execute("ZADD", self._namespace.merges, await self._now(), note)
        return bytes(note)

    async def _finish(self, merge: Merge, note: bytes) -> None:
        while await self.move(merge):
            pass
        await self._store.execute("ZREM", self._namespace.merges, note)

    async def _run(self, merge: Merge) -> None:
        refusal: Refusal | None = None
        try:
            note = await self._note(merge)
            await self.retire(merge)
            await self._finish(merge, note)
        except Refusal as error:
            refusal = error
        except Exception:
            _log.exception("a merge failed")
            refusal = Unavailable("the merge failed", retry_after=1.0)
        answer(merge.done, refusal)

    async def retire(self, merge: Merge) -> None:
        """The first step.

        Raises:
            Unauthorized: another account came first.
            Unavailable: not confirmed in time.
        """
        whose = merge.site, merge.visitor
        names = [self._namespace.index_key(*whose), self._namespace.taken_key(*whose)]
        channel = self._namespace.visitor_channel(*whose)
        if not await self._store.commit(_RETIRE, names, merge.account, channel, KEEP):
            raise Unauthorized("this anonymous visitor has become another account's")
        # From here on nothing new is put into the index, but what was put there may only now come to be held.
        await self._store.await_deadlines()

    async def move(self, merge: Merge) -> bool:
        """Move the next items; ``False`` when there were none.

        Raises:
            Unavailable: not confirmed in time.
        """
        taken = self._namespace.taken_key(merge.site, merge.visitor)
        page = await self._store.execute("ZRANGE", taken, 0, PAGE - 1)
        if not page:
            return False
        # The account's index first, so that it is a superset; the list last, so that nothing is forgotten.
        index = self._namespace.index_key(merge.site, merge.account)
        await self._store.commit(_ENLIST, [index], *page)
        names = [self._namespace.item_key(merge.site, item.decode()) for item in page]
        groups = self._store.partition(names)
        await asyncio.gather(*(self._move(merge, names, page, group) for group in groups))
        await self._store.execute("ZREM", taken, *page)
        return True

    async def _move(self, merge: Merge, names: list[bytes], items: list[bytes], group: list[int]) -> None:
        """Move the items of a group, in one step."""
        channel = self._namespace.visitor_channel(merge.site, merge.account)
        asked = [merge.visitor, merge.account, channel, [items[index] for index in group]]
        packed = msgpack.packb(asked, use_bin_type=False)
        given = packed, self._namespace.channel_suffix
        await self._store.commit(_MERGE, [names[index] for index in group], *given)
