"""Reads the stored state: counts and versions of many items, and what one visitor holds on them.

Owns the making of a batch for ``read.lua``. Reads that arrive together travel together. Must not know why it
is asked.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from server.errors import Refusal
from server.ledger import keys
from server.ledger.batch import Batcher, answer
from server.ledger.engine import Engine, Script
from server.rules.sites import Site

MOST = 1000
ROOM = 100_000
PAGE = 500

_READ = Script("read.lua")


class State(NamedTuple):
    """An item as stored: version (0: never touched), counts, and what the visitor asked for holds."""

    version: int
    counts: dict[str, int]
    reaction: str | None


@dataclass(slots=True, eq=False)
class Query:
    """The state of ``items``; with ``visitor``, also what that visitor holds.

    ``done`` is called exactly once.
    """

    site: Site
    items: Sequence[str]
    visitor: str | None
    done: Callable[[list[State] | Refusal], None]

    @property
    def weight(self) -> int:
        """A query fills a batch by its items."""
        return len(self.items)

    def refuse(self, refusal: Refusal) -> None:
        """Not read in time."""
        self.done(refusal)


class Reader:
    """The one way by which stored state is read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._batcher: Batcher[Query] = Batcher(self._send, most=MOST, room=ROOM)
        self.submit = self._batcher.submit
        self.close = self._batcher.close

    async def _send(self, queries: Sequence[Query]) -> None:
        sites: dict[Site, int] = {}
        names: list[bytes] = []
        flat: list[Any] = []
        for query in queries:
            site = sites.setdefault(query.site, len(sites) + 1)
            who = keys.member(query.visitor) if query.visitor is not None else b""
            for item in query.items:
                channel = keys.item_channel(query.site.name, item)
                names += (channel + b":s", channel + b":m")
                flat += (site, who)
        packed = msgpack.packb([[(site.name, *site.kinds) for site in sites], flat], use_bin_type=False)
        now, answers = msgpack.unpackb(await self._engine.run(_READ, names, packed))
        self._engine.tick(now)
        at = 0
        for query in queries:
            width = len(query.site.kinds) + 2
            end = at + width * len(query.items)
            states = [_state(query.site, answers[i : i + width]) for i in range(at, end, width)]
            answer(query.done, states)
            at = end


def _state(site: Site, flat: Sequence[Any]) -> State:
    return State(flat[0], dict(zip(site.kinds, flat[1:-1], strict=True)), flat[-1] or None)


async def held_by(
    engine: Engine, read: Callable[[Site, Sequence[str], str], Any], site: Site, visitor: str
) -> AsyncIterator[tuple[str, State]]:
    """Every item on which ``visitor`` holds a reaction, the latest first, with its state.

    The visitor's index is a superset of that, so each item is asked.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    index = keys.index_key(site.name, keys.member(visitor))
    start = 0
    while page := await engine.command("ZREVRANGE", index, start, start + PAGE - 1):
        items = [item.decode() for item in page]
        for item, state in zip(items, await read(site, items, visitor), strict=True):
            if state.reaction is not None:
                yield item, state
        start += PAGE
