"""Writes reactions on a cluster, where each item and each visitor's index has a slot of its own.

Owns the two steps that are one script on a standalone engine. First the item is put into the visitor's index,
so that the index is always a superset of the reactions; a retired visitor has a tombstone there and is
refused. Then the item is changed. Both happen before the reaction's deadline, or it is refused: so what was
under way when a visitor is retired is complete a moment later, and is then moved with the rest.
"""

import time

from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine.clock import DEADLINE
from tallycast.engine.scripts import Script
from tallycast.engine.store import Scripts
from tallycast.ledger.batch import answer, refuse
from tallycast.ledger.cluster.keyed_batch import KeyedBatcher
from tallycast.ledger.layout import LUA
from tallycast.ledger.quota import NewItemQuota
from tallycast.ledger.writer import CAPACITY, MAX_BATCH, REACT, Batch, SetReaction, decode_answers
from tallycast.observability.measures import SIZES, Histogram

ENLIST = Script(LUA, "enlist.lua")


class _Step:
    """A reaction, and its deadline (s, monotonic clock)."""

    __slots__ = ("reaction", "until")

    weight = 1

    def __init__(self, reaction: SetReaction) -> None:
        self.reaction = reaction
        self.until = time.monotonic() + DEADLINE

    def refuse(self, refusal: Refusal) -> None:
        """Not confirmed in time."""
        self.reaction.refuse(refusal)


class ClusterWriter:
    """See ``Writer``."""

    def __init__(self, store: Scripts) -> None:
        self.sizes = Histogram(SIZES)
        self._store = store
        self._namespace = store.namespace
        self._quota = NewItemQuota()
        self._indexes: KeyedBatcher[_Step] = KeyedBatcher(
            self._enlist, max_weight=MAX_BATCH, capacity=CAPACITY
        )
        self._items: KeyedBatcher[_Step] = KeyedBatcher(self._react, max_weight=MAX_BATCH, capacity=CAPACITY)

    def submit(self, reaction: SetReaction) -> None:
        """See ``Writer``."""
        index = self._namespace.index_key(reaction.site.name, reaction.member)
        self._indexes.submit(index, _Step(reaction))

    async def close(self) -> None:
        """See ``Writer``."""
        await self._indexes.close()
        await self._items.close()

    async def _enlist(self, index: bytes, steps: list[_Step]) -> None:
        # The removal of a reaction needs no entry in the index, but must not overtake the reaction itself.
        items = {step.reaction.item for step in steps if step.reaction.reaction is not None}
        retired = False
        if items:
            until = min(step.until for step in steps)
            retired = not await self._store.commit(ENLIST, [index], *items, until=until)
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
        batch = Batch(self._namespace, reactions, new_items=self._quota.remaining)
        answers, created = await self._store.commit(REACT, [item], *batch.arguments, until=until)
        self._quota.spend(batch.sites, created)
        for reaction, result in zip(reactions, decode_answers(reactions, answers), strict=True):
            answer(reaction.done, result)
