"""What a publisher may do to items: reset, remove and freeze them, and set the counts that they start from.

Owns these changes: each is one atomic step, takes effect before its deadline or not at all, and is harmless
to repeat. Does not depend on which administrator may do what.
"""

from collections.abc import Mapping, Sequence

import msgpack

from tallycast.contract.errors import Forbidden, Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.engine.scripts import Script
from tallycast.engine.store import Data, Scripts
from tallycast.ledger.layout import LUA
from tallycast.ledger.writer import FROZEN

PAGE = 500

_RESET = Script(LUA, "reset.lua", "layout.lua")
_REMOVE = Script(LUA, "remove.lua", "layout.lua")
_START = Script(LUA, "start.lua", "layout.lua")
_FREEZE = Script(LUA, "freeze.lua", "layout.lua")


async def reset(store: Data, site: str, item: str) -> int:
    """Remove all reactions to an item, and its bases: its counts are 0. A frozen item stays frozen.

    Published like every change, with a higher version, and with a mark that no visitor holds a reaction now.

    Returns:
        The item's version (µs since 1970); 0 when it was never touched, and nothing was done.

    Raises:
        Unavailable: not confirmed in time.
    """
    version, generation, buckets = await _reset(store, store.namespace.item_key(site, item))
    try:
        await _clean(store, site, item, generation, buckets)
    except Unavailable:
        pass  # only memory is lost, until the auditor finds it
    return int(version)


async def remove(store: Data, site: str, item: str) -> bool:
    """Delete an item, as if it had never been touched. Its watchers get a reset.

    Returns:
        Whether it is deleted; not where a visitor has reacted to it again meanwhile.

    Raises:
        Unavailable: not confirmed in time; it may be reset and not removed.
    """
    key = store.namespace.item_key(site, item)
    _, generation, buckets = await _reset(store, key)
    # Before the item is deleted: afterwards these buckets could not be told from those of a new item.
    await _clean(store, site, item, generation, buckets)
    return bool(await store.commit(_REMOVE, [key]))


async def _reset(store: Scripts, key: bytes) -> tuple[int, int, int]:
    """The item's version, and the generation and the number of buckets that were left behind."""
    version, generation, buckets = await store.commit(_RESET, [key], store.namespace.channel_suffix)
    return version, generation, buckets


async def _clean(store: Data, site: str, item: str, generation: int, buckets: int) -> None:
    """Remove the buckets that a reset left behind."""
    bucket_key = store.namespace.bucket_key
    garbage = [bucket_key(site, item, generation, number) for number in range(1, buckets)]
    for at in range(0, len(garbage), PAGE):
        await store.execute("UNLINK", *garbage[at : at + PAGE])


async def start(
    store: Scripts, site: Site, bases: Mapping[str, Mapping[str, int]]
) -> Sequence[Refusal | None]:
    """Set the counts that items start from, beside what visitors hold: for each item one for each kind.

    Returns:
        For each item the refusal, or ``None``.

    Raises:
        Unavailable: not confirmed in time.
    """
    keys = [store.namespace.item_key(site.name, item) for item in bases]
    flat = [counts.get(kind, 0) for counts in bases.values() for kind in site.kinds]
    packed = msgpack.packb([site.kinds, flat], use_bin_type=False)
    answers = await store.commit(_START, keys, packed, store.namespace.channel_suffix)
    return [
        Forbidden("this item is frozen", item=item) if version == FROZEN else None
        for item, version in zip(bases, answers, strict=True)
    ]


async def freeze(store: Scripts, site: str, item: str, *, frozen: bool) -> bool:
    """Freeze an item, which refuses all reactions to it with ``Forbidden``, or unfreeze it. Its counts stay.

    Returns:
        Whether that is a change.

    Raises:
        Unavailable: not confirmed in time.
    """
    return bool(await store.commit(_FREEZE, [store.namespace.item_key(site, item)], int(frozen)))
