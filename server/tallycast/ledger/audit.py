"""Compares an item's counts with its membership, and sets right what differs.

Owns the way through an item, a few buckets at a time, and the way through all items, a page of the engine's
keys at a time: nothing ever waits for a large one. Must not know who asks, nor how often.

First it only reads, which is all that an item needs that is right and does not change meanwhile. Where one
does, or is not right, it is counted again with the engine's help: what changes in the buckets that have been
counted is counted along by the scripts of reactions, so that the sum is exact with the last bucket, however
much goes on, and counts are set right in that same step.

A difference would be a defect, of this program or of whoever else writes into the store.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import msgpack

from tallycast.contract.errors import Unavailable
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.engine.store import Data
from tallycast.ledger import layout
from tallycast.ledger.layout import Stored

# Buckets, some 40 members each, that are counted in one step of the store.
# It takes some 0.3 ms.
STEP = 10
# A bucket of more members, which nothing but malice makes, is read in pages of its own, as long as nothing is
# to be repaired.
LARGE = 500
# Keys of the engine in one page.
PAGE = 500

_TALLY = Script("tally.lua", "layout.lua")
_SWEEP = Script("sweep.lua", "layout.lua")
_REPAIR = Script("repair.lua", "layout.lua")


class Outcome(Enum):
    """What an audit of one item came to."""

    RIGHT = "right"
    REPAIRED = "repaired"
    ABSENT = "absent"  # nobody ever touched it
    FAILED = "failed"  # it could not be counted, and the engine answers


@dataclass(frozen=True, slots=True)
class Finding:
    """One item's audit: the counts that were stored, and those that were counted."""

    site: str
    item: str
    outcome: Outcome
    stored: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


async def at_once() -> None:
    """The pause between two steps of somebody who does not pause."""


async def check(store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]] = at_once) -> Finding:
    """Audit one item. A repair is published like any change. ``pause`` is waited for between two steps.

    Raises:
        Unavailable: the engine does not answer.
    """
    try:
        return await _check(store, site, item, pause)
    except Unavailable:
        await store.size()  # Raises, unless it is this item that something is wrong with.
    except (ValueError, TypeError):
        pass  # Somebody else wrote it.
    return Finding(site, item, Outcome.FAILED)


async def _check(store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]]) -> Finding:
    read = await _count(store, site, item, pause)
    if read is not None:
        state, counts = read
        if not state.counts:
            return Finding(site, item, Outcome.ABSENT)
        if counts == list(state.counts.values()):
            return Finding(site, item, Outcome.RIGHT, state.counts, state.counts)
    return await _repair(store, site, item, pause)


async def _repair(store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]]) -> Finding:
    """Count an item while it changes, and set it right."""
    name, suffix = store.namespace.item_key(site, item), store.namespace.channel_suffix
    found = await store.commit(_REPAIR, [name], STEP, 1, suffix)
    while not found:
        await pause()
        found = await store.commit(_REPAIR, [name], STEP, 0, suffix)
    # From a cluster text comes as bytes.
    kinds = [kind.decode() if isinstance(kind, bytes) else kind for kind in found[0]]
    stored, counted = (dict(zip(kinds, numbers, strict=True)) for numbers in found[1:])
    outcome = Outcome.RIGHT if stored == counted else Outcome.REPAIRED
    return Finding(site, item, outcome if kinds else Outcome.ABSENT, stored, counted)


async def _count(
    store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]]
) -> tuple[Stored, list[int]] | None:
    """The state, and the counts in the order of its kinds; ``None`` when it changed meanwhile."""
    name = store.namespace.item_key(site, item)
    first: bytes | None = None
    total: list[int] = []
    state = layout.UNTOUCHED
    at, large = 0, []
    while at < state.buckets:
        if at:
            await pause()
        reply = await store.run(_TALLY, [name], at, STEP, LARGE)
        stored, counts, large = msgpack.unpackb(reply, raw=True)
        if first is None:
            first, state, total = stored, layout.unpack(stored), [0] * len(counts)
        if stored != first:
            return None
        total = [one + other for one, other in zip(total, counts, strict=True)]
        for bucket in large:
            where = store.namespace.bucket_key(site, item, state.generation, bucket)
            found = await _count_large(store, state, where, bucket)
            total = [count + found[number] for number, count in enumerate(total, 1)]
        at += STEP
    if large:
        # It took its time, after the last look at the state.
        reply = await store.run(_TALLY, [name], at, 0, LARGE)
        if msgpack.unpackb(reply, raw=True)[0] != first:
            return None
    return state, total


async def _count_large(store: Data, state: Stored, name: bytes, bucket: int) -> Counter[int]:
    held: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, page = await store.execute("HSCAN", name, cursor, "COUNT", PAGE)
        held |= page
        if not cursor:
            break
    return Counter(
        int(number)
        for member, number in held.items()
        if len(member) == keys.MEMBER
        and number.isdigit()
        and layout.bucket_of(member, state.buckets) == bucket
    )


class Page(NamedTuple):
    """A part of all items. ``keys`` is how many of the engine's keys were looked at for it."""

    keys: int
    items: list[tuple[str, str]]
    buckets: list[keys.Name]


async def pages(store: Data, site: str | None = None) -> AsyncIterator[Page]:
    """All items of a site, or of all sites, and their buckets, in no order. One may come twice.

    What is new or gone meanwhile may be in it or not; everything else is.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    async for names in store.scan(store.namespace.item_pattern(site), PAGE):
        found = [name for name in map(store.namespace.parse, names) if name]
        items = [(name.site, name.item) for name in found if name.generation is None]
        yield Page(PAGE, items, [name for name in found if name.generation is not None])


async def sweep(store: Data, buckets: Iterable[keys.Name]) -> int:
    """Remove, of these buckets, those that a reset left behind; how many.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    by_item: defaultdict[tuple[str, str], list[keys.Name]] = defaultdict(list)
    for name in buckets:
        by_item[name.site, name.item].append(name)
    item_key, bucket_key = store.namespace.item_key, store.namespace.bucket_key
    removed = 0
    for (site, item), names in by_item.items():
        generations = [name.generation or 0 for name in names]
        dead = [
            bucket_key(site, item, generation, name.bucket)
            for generation, name in zip(generations, names, strict=True)
        ]
        # In one step with a look at the item: one that was removed begins with the first generation again.
        removed += int(await store.run(_SWEEP, [item_key(site, item), *dead], *generations))
    return removed
