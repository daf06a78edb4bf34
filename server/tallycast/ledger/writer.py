"""Writes reactions: batches of them, each through one atomic script.

Owns the encoding of a batch for ``react.lua`` and the decoding of its answers. Reactions take effect in the
order in which they were submitted. Does not depend on sessions; of a visitor it knows the member.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgpack
from msgspec import Struct

from tallycast.contract.errors import Forbidden, RateLimited, Refusal, Unauthorized
from tallycast.domain.sites import Site
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.store import Scripts
from tallycast.ledger.batch import Batcher, answer
from tallycast.ledger.layout import LUA
from tallycast.ledger.quota import NewItemQuota
from tallycast.observability.measures import SIZES, Histogram

# Reactions of a batch, and of all that may wait.
MAX_BATCH = 512
CAPACITY = 16_384
# In place of a version: why a reaction was refused.
RETIRED, FROZEN, OVER_QUOTA = -1, -2, -3
# In place of a connection: the publisher's own change, which a frozen item accepts.
PUBLISHER = -1
# More new items than a batch can have: where there is no quota.
UNLIMITED = 2**31

REACT = Script(LUA, "react.lua", "layout.lua")


class Committed(Struct, frozen=True):
    """A confirmed reaction: the item's version (µs since 1970), and counts in the order of the kinds."""

    version: int
    counts: dict[str, int]


class SetReaction(Struct, eq=False):
    """Makes ``reaction`` (``None``: nothing) what a visitor holds on an item.

    ``member`` is the visitor's digest, see ``keys``. ``connection_id`` is the connection that it came from,
    which gets no update of its own change; 0 for none. ``done`` is called exactly once.
    """

    site: Site
    item: str
    member: bytes
    reaction: str | None
    connection_id: int
    done: Callable[[Committed | Refusal], None]
    weight: int = 1

    def refuse(self, refusal: Refusal) -> None:
        """Not confirmed in time."""
        self.done(refusal)


class Writer(Protocol):
    """The only way by which visitors' reactions are stored. ``sizes`` counts batches by their size."""

    sizes: Histogram

    def submit(self, reaction: SetReaction) -> None:
        """Queue a reaction. Refuses it at once, with ``Unavailable``, when the queue is full."""

    async def close(self) -> None:
        """Refuse further reactions, and wait until the queued ones are answered."""


class StandaloneWriter:
    """See ``Writer``."""

    def __init__(self, store: Scripts) -> None:
        self.sizes = Histogram(SIZES)
        self._store = store
        self._quota = NewItemQuota()
        self._batcher: Batcher[SetReaction] = Batcher(self._send, max_weight=MAX_BATCH, capacity=CAPACITY)
        self.submit = self._batcher.submit
        self.close = self._batcher.close

    async def _send(self, reactions: Sequence[SetReaction]) -> None:
        self.sizes.add(len(reactions))
        batch = Batch(self._store.namespace, reactions, new_items=self._quota.remaining)
        answers, created = await self._store.commit(REACT, batch.keys, *batch.arguments)
        self._quota.spend(batch.sites, created)
        for reaction, result in zip(reactions, decode_answers(reactions, answers), strict=True):
            answer(reaction.done, result)


async def apply(
    store: Scripts, reactions: Sequence[SetReaction], times: Sequence[int] = ()
) -> Iterable[Committed | Refusal]:
    """Commit reactions as one batch, on a standalone engine, without a quota.

    Args:
        times: since when each reaction holds (µs since 1970), or 0 for now. A reaction that is not later than
            the item's entry in the visitor's index has no effect.

    Raises:
        Unavailable: not confirmed in time.
    """
    batch = Batch(store.namespace, reactions, times)
    answers, _ = await store.commit(REACT, batch.keys, *batch.arguments)
    return decode_answers(reactions, answers)


def decode_answers(reactions: Iterable[SetReaction], answers: Sequence[int]) -> Iterable[Committed | Refusal]:
    """The result of each reaction, from the flat answers of ``react.lua``."""
    start = 0
    for reaction in reactions:
        kinds = reaction.site.kinds
        end = start + 1 + len(kinds)
        if answers[start] == RETIRED:
            yield Unauthorized("this anonymous visitor has become an account", item=reaction.item)
        elif answers[start] == FROZEN:
            yield Forbidden("this item is frozen and accepts no reactions", item=reaction.item)
        elif answers[start] == OVER_QUOTA:
            wait = 1 / reaction.site.limits.new_items.per_second
            yield RateLimited("too many new items on this site", item=reaction.item, retry_after=wait)
        else:
            yield Committed(answers[start], dict(zip(kinds, answers[start + 1 : end], strict=False)))
        start = end


class Batch:
    """Reactions in the form of ``react.lua``: ``keys`` are its KEYS, ``arguments`` follow the deadline.

    ``sites`` are those of the items, in the script's order.

    Args:
        times: see ``apply``.
        new_items: how many new items a site may have.
    """

    __slots__ = ("arguments", "keys", "sites")

    def __init__(
        self,
        namespace: Namespace,
        reactions: Iterable[SetReaction],
        times: Sequence[int] = (),
        new_items: Callable[[Site], int] = lambda site: UNLIMITED,
    ) -> None:
        sites: dict[Site, int] = {}
        items: dict[bytes, int] = {}
        indexes: dict[bytes, int] = {}
        listed: list[tuple[int, str]] = []
        item_sites: list[Site] = []
        flat: list[Any] = []
        item_key, index_key = namespace.item_key, namespace.index_key
        for reaction in reactions:
            name = reaction.site.name
            item = items.setdefault(item_key(name, reaction.item), len(items) + 1)
            if item > len(listed):
                listed.append((sites.setdefault(reaction.site, len(sites) + 1), reaction.item))
                item_sites.append(reaction.site)
            elif reaction.site is not item_sites[item - 1]:
                # Its kinds were changed a moment ago. In one batch an item is answered with the same kinds.
                reaction.site = item_sites[item - 1]
            index = indexes.setdefault(index_key(name, reaction.member), len(indexes) + 1)
            flat += (item, reaction.member, reaction.reaction or "", index, reaction.connection_id)
        self.keys = [*items, *indexes]
        self.sites = list(sites)
        # Lua's MessagePack knows no bin type: strings and bytes alike travel as raw.
        channels = namespace.visitor_channels
        described = [(channels(site.name), new_items(site), *site.kinds) for site in sites]
        request: list[Any] = [described, listed, flat]
        if any(times):
            request.append(times)
        packed: bytes = msgpack.packb(request, use_bin_type=False)
        self.arguments = packed, namespace.channel_suffix
