"""Stores reactions: batches of wishes through one atomic script.

Owns the making of a batch for ``react.lua`` and the reading of its answers.
Must not know who wished, beyond a visitor id. Order: wishes take effect in the order they were submitted.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack
from msgspec import Struct

from tallycast.contract.errors import Forbidden, RateLimited, Refusal, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.store import Store
from tallycast.ledger.batch import Batcher, answer
from tallycast.ledger.quota import NewItemQuota
from tallycast.observability.measures import SIZES, Histogram

MOST = 512
ROOM = 16_384
# In place of a version.
RETIRED, FROZEN, SURPLUS = -1, -2, -3
# In place of an origin: it is the publisher's wish, whom a frozen item does not stop.
PUBLISHER = -1
# As many new items as a batch can bring: where nobody counts them.
ANY = 2**31

REACT = Script("react.lua", "layout.lua")


class Committed(Struct, frozen=True):
    """A confirmed wish: the item's version (µs since 1970) and counts, in the order of the site's kinds."""

    version: int
    counts: dict[str, int]


class SetReaction(Struct, eq=False):
    """A visitor wishes to hold ``reaction`` (``None``: nothing) on an item.

    ``member`` stands for the visitor, as in ``keys``. ``origin`` names the connection that wished, so that it
    is not told of its own change; 0 for none. ``done`` is called exactly once.
    """

    site: Site
    item: str
    member: bytes
    reaction: str | None
    origin: int
    done: Callable[[Committed | Refusal], None]
    weight: int = 1

    def refuse(self, refusal: Refusal) -> None:
        """Not confirmed in time."""
        self.done(refusal)


class Writer:
    """The one way by which reactions get into the engine."""

    def __init__(self, engine: Store) -> None:
        self.sizes = Histogram(SIZES)
        self._engine = engine
        self._novelties = NewItemQuota()
        self._batcher: Batcher[SetReaction] = Batcher(self._send, most=MOST, room=ROOM)
        self.submit = self._batcher.submit
        self.close = self._batcher.close

    async def _send(self, reactions: Sequence[SetReaction]) -> None:
        self.sizes.add(len(reactions))
        batch = Batch(self._engine.namespace, reactions, room=self._novelties.room)
        answers, made = await self._engine.timed(REACT, batch.names, *batch.arguments)
        self._novelties.made(batch.sites, made)
        for reaction, receipt in zip(reactions, receipts(reactions, answers), strict=True):
            answer(reaction.done, receipt)


async def apply(
    engine: Store, reactions: Sequence[SetReaction], times: Sequence[int] = ()
) -> Iterable[Committed | Refusal]:
    """Grant wishes as one batch; what came of each.

    ``times`` tells for each wish since when it holds (µs since 1970), or 0 for now. One that is not later
    than what the visitor's index has for the item is granted without effect.

    Raises:
        Unavailable: not confirmed in time.
    """
    batch = Batch(engine.namespace, reactions, times)
    answers, _ = await engine.timed(REACT, batch.names, *batch.arguments)
    return receipts(reactions, answers)


def receipts(reactions: Iterable[SetReaction], answers: Sequence[int]) -> Iterable[Committed | Refusal]:
    """The script's flat answers: a receipt for each wish, or why it was not granted."""
    at = 0
    for reaction in reactions:
        kinds = reaction.site.kinds
        end = at + 1 + len(kinds)
        if answers[at] == RETIRED:
            yield Unauthorized("this anonymous visitor has become an account", item=reaction.item)
        elif answers[at] == FROZEN:
            yield Forbidden("this item is frozen: nobody can react to it", item=reaction.item)
        elif answers[at] == SURPLUS:
            wait = 1 / reaction.site.limits.new_items.per_second
            yield RateLimited("too many new items on this site", item=reaction.item, retry_after=wait)
        else:
            yield Committed(answers[at], dict(zip(kinds, answers[at + 1 : end], strict=False)))
        at = end


class Batch:
    """Wishes in the form of ``react.lua``: ``names`` are its KEYS, ``arguments`` what follows the deadline.

    ``sites`` are those of the items, in the script's order. ``room`` is how many new items each may have.
    """

    __slots__ = ("arguments", "names", "sites")

    def __init__(
        self,
        namespace: Namespace,
        reactions: Iterable[SetReaction],
        times: Sequence[int] = (),
        room: Callable[[Site], int] = lambda site: ANY,
    ) -> None:
        sites: dict[Site, int] = {}
        items: dict[bytes, int] = {}
        indexes: dict[bytes, int] = {}
        listed: list[tuple[int, str]] = []
        owners: list[Site] = []
        flat: list[Any] = []
        item_key, index_key = namespace.item_key, namespace.index_key
        for reaction in reactions:
            name = reaction.site.name
            item = items.setdefault(item_key(name, reaction.item), len(items) + 1)
            if item > len(listed):
                listed.append((sites.setdefault(reaction.site, len(sites) + 1), reaction.item))
                owners.append(reaction.site)
            elif reaction.site is not owners[item - 1]:
                # Its kinds were changed a moment ago. An item is answered with the same ones in one batch.
                reaction.site = owners[item - 1]
            index = indexes.setdefault(index_key(name, reaction.member), len(indexes) + 1)
            flat += (item, reaction.member, reaction.reaction or "", index, reaction.origin)
        self.names = [*items, *indexes]
        self.sites = list(sites)
        # Lua's MessagePack knows no bin type: strings and bytes alike travel as raw.
        channels = namespace.visitor_channels
        known = [(channels(site.name), room(site), *site.kinds) for site in sites]
        asked: list[Any] = [known, listed, flat]
        if any(times):
            asked.append(times)
        packed: bytes = msgpack.packb(asked, use_bin_type=False)
        self.arguments = packed, namespace.channel_suffix
