"""Writing and reading on a cluster, where each item and each visitor's index is on a node of its own.

Owns the steps of a wish that one script does on a single engine. First the visitor's index, so that it is
always a superset of what is held; a retired visitor has a mark there and is refused. Then the item. Both
happen before the wish's deadline, or it is refused: so what was under way when a visitor is retired has come
to its end a moment later, and then is moved with the rest.
"""

import asyncio
import time
from collections.abc import Sequence

import msgpack

from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine import keys
from tallycast.engine.clock import DEADLINE
from tallycast.engine.cluster.store import ClusterEngine
from tallycast.engine.scripts import Script
from tallycast.ledger.batch import answer, refuse
from tallycast.ledger.cluster.keyed_batch import KeyedBatcher
from tallycast.ledger.quota import NewItemQuota
from tallycast.ledger.reader import READ, Query, State, state_of
from tallycast.ledger.reader import ROOM as ROOM_TO_READ
from tallycast.ledger.writer import MOST, REACT, ROOM, Batch, SetReaction, receipts
from tallycast.observability.measures import SIZES, Histogram

ENLIST = Script("enlist.lua")


class _Step:
    """A wish, and when it must have taken effect (monotonic)."""

    __slots__ = ("reaction", "until")

    weight = 1

    def __init__(self, reaction: SetReaction) -> None:
        self.reaction = reaction
        self.until = time.monotonic() + DEADLINE

    def refuse(self, refusal: Refusal) -> None:
        """Not confirmed in time."""
        self.reaction.refuse(refusal)


class ClusterWriter:
    """As ``Writer``, on a cluster."""

    def __init__(self, engine: ClusterEngine) -> None:
        self.sizes = Histogram(SIZES)
        self._engine = engine
        self._namespace = engine.namespace
        self._novelties = NewItemQuota()
        self._indexes: KeyedBatcher[_Step] = KeyedBatcher(self._enlist, most=MOST, room=ROOM)
        self._items: KeyedBatcher[_Step] = KeyedBatcher(self._react, most=MOST, room=ROOM)

    def submit(self, reaction: SetReaction) -> None:
        """Queue a wish. Refuses it at once, with ``Unavailable``, when there is no room."""
        index = self._namespace.index_key(reaction.site.name, reaction.member)
        self._indexes.submit(index, _Step(reaction))

    async def close(self) -> None:
        """Refuse what comes from now on, and wait for what is under way."""
        await self._indexes.close()
        await self._items.close()

    async def _enlist(self, index: bytes, steps: list[_Step]) -> None:
        # What takes a reaction back needs no place in the index, but must not overtake what put it there.
        wanted = {step.reaction.item for step in steps if step.reaction.reaction is not None}
        retired = False
        if wanted:
            until = min(step.until for step in steps)
            retired = not await self._engine.timed(ENLIST, [index], *wanted, until=until)
        for step in steps:
            reaction = step.reaction
            if retired and reaction.reaction is not None:
                refusal = Unauthorized("this anonymous visitor has become an account", item=reaction.item)
                answer(reaction.done, refusal)
            else:
                self._items.submit(self._namespace.item_key(reaction.site.name, reaction.item), step)

    async def _react(self, item: bytes, steps: list[_Step]) -> None:
        now = time.monotonic()
        late = [step for step in steps if step.until <= now]
        refuse(late, Unavailable("it waited too long", retry_after=1.0))
        steps = [step for step in steps if step.until > now]
        if not steps:
            return
        reactions = [step.reaction for step in steps]
        self.sizes.add(len(reactions))
        until = min(step.until for step in steps)
        batch = Batch(self._namespace, reactions, room=self._novelties.room)
        answers, made = await self._engine.timed(REACT, [item], *batch.arguments, until=until)
        self._novelties.made(batch.sites, made)
        for reaction, receipt in zip(reactions, receipts(reactions, answers), strict=True):
            answer(reaction.done, receipt)


class ClusterReader:
    """As ``Reader``, on a cluster."""

    def __init__(self, engine: ClusterEngine) -> None:
        self._engine = engine
        self._namespace = engine.namespace
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    def submit(self, query: Query) -> None:
        """Read. Refused at once, with ``Unavailable``, when too much is under way."""
        if self._closed or self._waiting + query.weight > ROOM_TO_READ:
            query.refuse(Unavailable("too much is waiting", retry_after=1.0))
            return
        self._waiting += query.weight
        task = asyncio.get_running_loop().create_task(self._read(query))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Refuse what comes from now on, and wait for what is under way."""
        self._closed = True
        await asyncio.gather(*self._tasks)

    async def _read(self, query: Query) -> None:
        try:
            states = await self._states(query)
        except Refusal as refusal:
            answer(query.refuse, refusal)
        else:
            answer(query.done, states)
        finally:
            self._waiting -= query.weight

    async def _states(self, query: Query) -> list[State]:
        site = query.site.name
        who = keys.member(query.visitor) if query.visitor is not None else b""
        names = (self._namespace.item_key(site, item) for item in query.items)
        asked = [self._one([name], who) for name in names]
        if who:
            asked.append(self._one([self._namespace.index_key(site, who)]))
        # All of them, so that none is left behind without anybody who waits for it.
        found = await asyncio.gather(*asked, return_exceptions=True)
        for reply in found:
            if isinstance(reply, BaseException):
                raise reply
        if who and found.pop()[1]:  # type: ignore[index]
            raise Unauthorized("this anonymous visitor has become an account")
        return [state_of(query.site, *answers) for answers, _ in found]  # type: ignore[misc]

    async def _one(self, names: Sequence[bytes], *members: bytes) -> tuple[list[bytes], bool]:
        """What one call to the script gives: an item's state and what is held, or whether one is retired."""
        _, answers, retired = msgpack.unpackb(await self._engine.run(READ, names, *members), raw=True)
        return answers, any(retired)
