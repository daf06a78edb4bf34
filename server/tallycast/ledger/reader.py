"""Reads the stored state: counts and versions of many items, and what one visitor holds on them.

Owns the making of a batch for ``read.lua``. Reads that arrive together travel together. Must not know why it
is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from tallycast.contract.errors import Refusal, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.engine.store import Store
from tallycast.ledger import layout
from tallycast.ledger.batch import Batcher, answer

MOST = 1000
ROOM = 100_000

READ = Script("read.lua", "layout.lua")


class State(NamedTuple):
    """An item as stored: version (0: never touched), counts, and what the visitor asked for holds.

    While it is ``frozen``, nobody can react to it.
    """

    version: int
    counts: dict[str, int]
    reaction: str | None
    frozen: bool = False


@dataclass(slots=True, eq=False)
class Query:
    """The state of ``items``; with ``visitor``, also what that visitor holds.

    ``done`` is called exactly once. It is refused, with ``Unauthorized``, to a visitor that is retired.
    """

    site: Site
    items: Sequence[str]
    visitor: str | None
    done: Callable[[list[State] | Refusal], None]

    @property
    def weight(self) -> int:
        """A query fills a batch by its items."""
        return max(1, len(self.items))

    def refuse(self, refusal: Refusal) -> None:
        """Not read in time."""
        self.done(refusal)


class Reader:
    """The one way by which stored state is read."""

    def __init__(self, engine: Store) -> None:
        self._engine = engine
        self._namespace = engine.namespace
        self._batcher: Batcher[Query] = Batcher(self._send, most=MOST, room=ROOM)
        self.submit = self._batcher.submit
        self.close = self._batcher.close

    async def _send(self, queries: Sequence[Query]) -> None:
        item_key, index_key = self._namespace.item_key, self._namespace.index_key
        names: list[bytes] = []
        members: list[bytes] = []
        indexes: list[bytes] = []
        for query in queries:
            who = keys.member(query.visitor) if query.visitor is not None else b""
            if who:
                indexes.append(index_key(query.site.name, who))
            for item in query.items:
                names.append(item_key(query.site.name, item))
                members.append(who)
        # Raw, because a state within is MessagePack itself, and Lua's knows no bin type to tell them apart.
        reply = await self._engine.run(READ, [*names, *indexes], *members)
        _, answers, flags = msgpack.unpackb(reply, raw=True)
        at, retired = 0, iter(flags)
        for query in queries:
            end = at + 2 * len(query.items)
            pairs = zip(answers[at:end:2], answers[at + 1 : end : 2], strict=True)
            if query.visitor is not None and next(retired):
                query.refuse(Unauthorized("this anonymous visitor has become an account"))
            else:
                answer(query.done, [state_of(query.site, stored, held) for stored, held in pairs])
            at = end


def state_of(site: Site, stored: bytes, held: bytes) -> State:
    item = layout.unpack(stored)
    counts = {kind: item.shown(kind) for kind in site.kinds}
    return State(item.version, counts, held.decode() or None, item.frozen)
