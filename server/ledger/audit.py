"""Compares an item's counts with its membership, and sets right what differs.

Owns the way through an item, a few buckets at a time, and the way through all items, a page of the engine's
keys at a time: nothing ever waits for a large one. Must not know who asks, nor how often.

A difference would be a defect, of this program or of whoever else writes into the engine.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import msgpack

from server.ledger import keys, layout
from server.ledger.layout import Stored
from server.ledger.scripts import Script
from server.ledger.store import Store

# Buckets, some 40 members each, that are counted in one step of the engine. It takes some 0.2 ms.
STEP = 25
# A bucket of more members, which nothing but bad luck or malice makes, is read in pages of its own.
LARGE = 500
# Keys of the engine in one page.
PAGE = 500
# An item that changes between two steps is counted again, so often at most.
TRIES = 3

_TALLY = Script("tally.lua", "layout.lua")
_SWEEP = Script("sweep.lua", "layout.lua")
_REPAIR = Script("repair.lua", "layout.lua")


class Outcome(Enum):
    """What an audit of one item came to."""

    RIGHT = "right"
    REPAIRED = "repaired"
    BUSY = "busy"  # it changed all the while, so that nobody can say
    ABSENT = "absent"  # nobody ever touched it


@dataclass(frozen=True, slots=True)
class Finding:
    """One item's audit: the counts that were stored, and those that were counted."""

    site: str
    item: str
    outcome: Outcome
    stored: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


async def check(engine: Store, site: str, item: str) -> Finding:
    """Audit one item. A repair is published like any change.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    for _ in range(TRIES):
        counted = await _count(engine, site, item)
        if counted is None:
            continue
        state, counts = counted
        if not state.counts:
            return Finding(site, item, Outcome.ABSENT)
        if counts == list(state.counts.values()):
            return Finding(site, item, Outcome.RIGHT, state.counts, state.counts)
        name = keys.item_key(site, item)
        if await engine.timed(_REPAIR, [name], state.version, msgpack.packb(counts)):
            right = dict(zip(state.counts, counts, strict=True))
            return Finding(site, item, Outcome.REPAIRED, state.counts, right)
    return Finding(site, item, Outcome.BUSY)


async def _count(engine: Store, site: str, item: str) -> tuple[Stored, list[int]] | None:
    """The state, and the counts in the order of its kinds; ``None`` when it changed meanwhile."""
    first: bytes | None = None
    total: list[int] = []
    state = layout.UNTOUCHED
    at = 0
    while at < state.buckets:
        reply = await engine.run(_TALLY, [keys.item_key(site, item)], at, STEP, LARGE)
        stored, counts, large = msgpack.unpackb(reply, raw=True)
        if first is None:
            first, state, total = stored, layout.unpack(stored), [0] * len(counts)
        if stored != first:
            return None
        total = [one + other for one, other in zip(total, counts, strict=True)]
        for bucket in large:
            found = await _count_large(engine, state.bucket_keys(site, item)[bucket])
            total = [count + found[number] for number, count in enumerate(total, 1)]
        at += STEP
    return state, total


async def _count_large(engine: Store, bucket: bytes) -> Counter[int]:
    held: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, page = await engine.command("HSCAN", bucket, cursor, "COUNT", PAGE)
        held |= page
        if not cursor:
            held.pop(b"", None)
            return Counter(int(number) for number in held.values() if number.isdigit())


class Page(NamedTuple):
    """A part of all items. ``keys`` is how many of the engine's keys were looked at for it."""

    keys: int
    items: list[tuple[str, str]]
    buckets: list[keys.Name]


async def pages(engine: Store, site: str | None = None) -> AsyncIterator[Page]:
    """All items of a site, or of all sites, and their buckets, in no order. One may come twice.

    What is new or gone meanwhile may be in it or not; everything else is.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    pattern = "tc:{*" if site is None else f"tc:{{{site}:*"
    async for names in engine.names(pattern, PAGE):
        found = [name for name in map(keys.parse, names) if name]
        items = [(name.site, name.item) for name in found if name.generation is None]
        yield Page(PAGE, items, [name for name in found if name.generation is not None])


async def sweep(engine: Store, buckets: Iterable[keys.Name]) -> int:
    """Remove, of these buckets, those that a reset left behind; how many.

    Raises:
        Unavailable: the engine did not answer in time.
    """
    by_item: defaultdict[tuple[str, str], list[keys.Name]] = defaultdict(list)
    for name in buckets:
        by_item[name.site, name.item].append(name)
    removed = 0
    for (site, item), names in by_item.items():
        generations = [name.generation or 0 for name in names]
        dead = [
            keys.bucket_key(site, item, generation, name.bucket)
            for generation, name in zip(generations, names, strict=True)
        ]
        # In one step with a look at the item: one that was removed begins with the first generation again.
        removed += int(await engine.run(_SWEEP, [keys.item_key(site, item), *dead], *generations))
    return removed
