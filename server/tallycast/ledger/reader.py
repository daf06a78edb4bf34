"""Reads stored state: counts and versions of many items, and what one visitor holds on them.

Owns the queries, and the batches for ``read.lua`` on a standalone engine: queries that arrive together are
sent together. Does not depend on why it is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgpack

from tallycast.contract.errors import Refusal, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.engine.store import Scripts
from tallycast.ledger import layout
from tallycast.ledger.batch import Batcher, answer
from tallycast.ledger.layout import LUA

# In items: of a batch, and of all queries that may wait.
MAX_BATCH = 1000
CAPACITY = 100_000

READ = Script(LUA, "read.lua", "layout.lua")


class State(NamedTuple):
    """An item as stored: version (µs since 1970; 0: never touched), counts, and the visitor's reaction.

    While it is ``frozen``, visitors cannot react to it.
    """

    version: int
    counts: dict[str, int]
    reaction: str | None
    frozen: bool = False


@dataclass(slots=True, eq=False)
class Query:
    """The state of ``items``; with ``visitor``, also what that visitor holds.

    ``done`` is called exactly once. A retired visitor's query is refused with ``Unauthorized``.
    """

    site: Site
    items: Sequence[str]
    visitor: str | None
    done: Callable[[list[State] | Refusal], None]

    @property
    def weight(self) -> int:
        """Its items."""
        return max(1, len(self.items))

    def refuse(self, refusal: Refusal) -> None:
        """Not read in time."""
        self.done(refusal)


class Reader(Protocol):
    """The only way by which the state of items is read."""

    def submit(self, query: Query) -> None:
        """Read. Refuses the query at once, with ``Unavailable``, when too many are under way."""

    async def close(self) -> None:
        """Refuse further queries, and wait until those under way are answered."""


class StandaloneReader:
    """See ``Reader``."""

    def __init__(self, store: Scripts) -> None:
        self._store = store
        self._namespace = store.namespace
        self._batcher: Batcher[Query] = Batcher(self._send, max_weight=MAX_BATCH, capacity=CAPACITY)
        self.submit = self._batcher.submit
        self.close = self._batcher.close

    async def _send(self, queries: Sequence[Query]) -> None:
        item_key, index_key = self._namespace.item_key, self._namespace.index_key
        items: list[bytes] = []
        members: list[bytes] = []
        indexes: list[bytes] = []
        for query in queries:
            member = keys.member(query.visitor) if query.visitor is not None else b""
            if member:
                indexes.append(index_key(query.site.name, member))
            for item in query.items:
                items.append(item_key(query.site.name, item))
                members.append(member)
        # Raw, because a state within is MessagePack itself, and Lua's knows no bin type to tell them apart.
        reply = await self._store.run(READ, [*items, *indexes], *members)
        _, answers, flags = msgpack.unpackb(reply, raw=True)
        start, retired = 0, iter(flags)
        for query in queries:
            end = start + 2 * len(query.items)
            pairs = zip(answers[start:end:2], answers[start + 1 : end : 2], strict=True)
            if query.visitor is not None and next(retired):
                query.refuse(Unauthorized("this anonymous visitor has become an account"))
            else:
                answer(query.done, [decode_state(query.site, stored, kind) for stored, kind in pairs])
            start = end


def decode_state(site: Site, stored: bytes, kind: bytes) -> State:
    """A state as stored, and the kind that the visitor holds ("": none), as ``read.lua`` returns them."""
    item = layout.unpack(stored)
    counts = {name: item.shown(name) for name in site.kinds}
    return State(item.version, counts, kind.decode() or None, item.frozen)
