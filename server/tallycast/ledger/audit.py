"""Compares an item's counts with its members, and repairs what differs.

Owns the way through an item, a few buckets at a time, and the way through all items, a page of the engine's
keys at a time, so that no call takes long. Does not depend on why, or how often, it is called.

First an item is only read, which is enough where its counts are right and do not change meanwhile. Otherwise
it is counted again with the help of the scripts: a change in a bucket that has been counted changes the sum,
too, so that the sum is exact with the last bucket, however many reactions there are, and the counts are
repaired in that same step.

A difference is a defect of this program, or of another one that writes into the engine.
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
from tallycast.ledger.layout import LUA, Stored

# Buckets, some 40 members each, that are counted in one script. It takes some 0.3 ms.
STEP = 10
# A bucket of more members, which only crafted ids can make, is read in pages, unless a repair is needed.
LARGE = 500
# Keys of the engine in one page.
PAGE = 500

_TALLY = Script(LUA, "tally.lua", "layout.lua")
_DELETE_ORPHANS = Script(LUA, "delete_orphans.lua", "layout.lua")
_REPAIR = Script(LUA, "repair.lua", "layout.lua")


class Outcome(Enum):
    """The outcome of an audit of one item."""

    RIGHT = "right"
    REPAIRED = "repaired"
    ABSENT = "absent"  # it was never touched
    FAILED = "failed"  # it could not be counted, though the engine serves


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one item's audit: the stored counts, and those of the members."""

    site: str
    item: str
    outcome: Outcome
    stored: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


async def no_pause() -> None:
    """Continue at once."""


async def check(
    store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]] = no_pause
) -> Finding:
    """Audit one item. A repair is published like any change. ``pause`` is awaited between two steps.

    Raises:
        Unavailable: the engine does not answer.
    """
    try:
        return await _check(store, site, item, pause)
    except Unavailable:
        await store.size()  # raises, unless only this item is broken
    except (ValueError, TypeError):
        pass  # another program wrote it
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
    """Count an item while it changes, and repair it."""
    key, suffix = store.namespace.item_key(site, item), store.namespace.channel_suffix
    found = await store.commit(_REPAIR, [key], STEP, 1, suffix)
    while not found:
        await pause()
        found = await store.commit(_REPAIR, [key], STEP, 0, suffix)
    # A cluster's answers have bytes in place of text.
    kinds = [kind.decode() if isinstance(kind, bytes) else kind for kind in found[0]]
    stored, counted = (dict(zip(kinds, numbers, strict=True)) for numbers in found[1:])
    outcome = Outcome.RIGHT if stored == counted else Outcome.REPAIRED
    return Finding(site, item, outcome if kinds else Outcome.ABSENT, stored, counted)


async def _count(
    store: Data, site: str, item: str, pause: Callable[[], Awaitable[None]]
) -> tuple[Stored, list[int]] | None:
    """The state, and the members' counts in the order of its kinds; ``None`` if it changed meanwhile."""
    key = store.namespace.item_key(site, item)
    first: bytes | None = None
    total: list[int] = []
    state = layout.UNTOUCHED
    at, large = 0, []
    while at < state.buckets:
        if at:
            await pause()
        reply = await store.run(_TALLY, [key], at, STEP, LARGE)
        stored, counts, large = msgpack.unpackb(reply, raw=True)
        if first is None:
            first, state, total = stored, layout.unpack(stored), [0] * len(counts)
        if stored != first:
            return None
        total = [one + other for one, other in zip(total, counts, strict=True)]
        for bucket in large:
            bucket_key = store.namespace.bucket_key(site, item, state.generation, bucket)
            found = await _count_large(store, state, bucket_key, bucket)
            total = [count + found[number] for number, count in enumerate(total, 1)]
        at += STEP
    if large:
        # That took long, and the state may have changed since it was read.
        reply = await store.run(_TALLY, [key], at, 0, LARGE)
        if msgpack.unpackb(reply, raw=True)[0] != first:
            return None
    return state, total


async def _count_large(store: Data, state: Stored, key: bytes, bucket: int) -> Counter[int]:
    members: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, page = await store.execute("HSCAN", key, cursor, "COUNT", PAGE)
        members |= page
        if not cursor:
            break
    return Counter(
        int(number)
        for member, number in members.items()
        if len(member) == keys.MEMBER
        and number.isdigit()
        and layout.bucket_of(member, state.buckets) == bucket
    )


class Page(NamedTuple):
    """Some of all items. ``keys`` is how many of the engine's keys were examined for it."""

    keys: int
    items: list[tuple[str, str]]
    buckets: list[keys.Name]


async def pages(store: Data, site: str | None = None) -> AsyncIterator[Page]:
    """All items of a site, or of all sites, and their buckets, in no order. An item may be repeated.

    Items that are created or deleted meanwhile may be missing.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    async for page in store.scan(store.namespace.item_pattern(site), PAGE):
        found = [name for name in map(store.namespace.parse, page) if name]
        items = [(name.site, name.item) for name in found if name.generation is None]
        yield Page(PAGE, items, [name for name in found if name.generation is not None])


async def delete_orphan_buckets(store: Data, buckets: Iterable[keys.Name]) -> int:
    """Remove those of these buckets that a reset left behind. Returns how many.

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
        garbage = [
            bucket_key(site, item, generation, name.bucket)
            for generation, name in zip(generations, names, strict=True)
        ]
        # The script checks the item's generation: an item that was deleted starts at the first one again.
        removed += int(await store.run(_DELETE_ORPHANS, [item_key(site, item), *garbage], *generations))
    return removed
