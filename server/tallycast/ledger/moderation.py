"""What a publisher may do to items: reset them, remove them, freeze them, say what they start from.

Each is one atomic step, takes effect before its deadline or not at all, and is harmless to repeat. Must not
know who may ask.
"""

from collections.abc import Mapping, Sequence

import msgpack

from tallycast.contract.errors import Forbidden, Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.engine.scripts import Script
from tallycast.engine.store import Data, Scripts
from tallycast.ledger.writer import FROZEN

PAGE = 500

_RESET = Script("reset.lua", "layout.lua")
_REMOVE = Script("remove.lua", "layout.lua")
_START = Script("start.lua", "layout.lua")
_FREEZE = Script("freeze.lua", "layout.lua")


async def reset(store: Data, site: str, item: str) -> int:
    """Forget who reacted to an item, and what it started from: its counts are 0. Frozen stays frozen.

    That is published like every change, with a higher version, so for whoever watches it is an ordinary
    update, and that nobody holds anything any more is said with it.

    Returns:
        The item's version (µs since 1970); 0 when nobody ever touched it, and nothing was done.

    Raises:
        Unavailable: not confirmed in time.
    """
    version, generation, buckets = await _reset(store, store.namespace.item_key(site, item))
    try:
        await _clean(store, site, item, generation, buckets)
    except Unavailable:
        pass  # it is only memory, and the auditor finds it
    return int(version)


async def remove(store: Data, site: str, item: str) -> bool:
    """Forget an item, as if nobody had ever touched it. For whoever watches it, that is a reset.

    Returns:
        Whether it is gone. Otherwise somebody has reacted to it meanwhile, and it has begun anew.

    Raises:
        Unavailable: not confirmed in time; it may be reset and not removed.
    """
    name = store.namespace.item_key(site, item)
    _, generation, buckets = await _reset(store, name)
    # Before the item goes: afterwards nothing would tell these buckets from those of one that begins anew.
    await _clean(store, site, item, generation, buckets)
    return bool(await store.commit(_REMOVE, [name]))


async def _reset(store: Scripts, name: bytes) -> tuple[int, int, int]:
    """The item's version, and which generation and how many buckets were left behind."""
    version, generation, buckets = await store.commit(_RESET, [name], store.namespace.channel_suffix)
    return version, generation, buckets


async def _clean(store: Data, site: str, item: str, generation: int, buckets: int) -> None:
    """Remove the buckets that a reset left behind."""
    bucket_key = store.namespace.bucket_key
    left = [bucket_key(site, item, generation, number) for number in range(1, buckets)]
    for at in range(0, len(left), PAGE):
        await store.execute("UNLINK", *left[at : at + PAGE])


async def start(
    store: Scripts, site: Site, bases: Mapping[str, Mapping[str, int]]
) -> Sequence[Refusal | None]:
    """Set the counts that items start from, beside what visitors hold: for each item one for each kind.

    Returns:
        For each item why it was not done, if so.

    Raises:
        Unavailable: not confirmed in time.
    """
    names = [store.namespace.item_key(site.name, item) for item in bases]
    flat = [counts.get(kind, 0) for counts in bases.values() for kind in site.kinds]
    packed = msgpack.packb([site.kinds, flat], use_bin_type=False)
    answers = await store.commit(_START, names, packed, store.namespace.channel_suffix)
    return [
        Forbidden("this item is frozen", item=item) if version == FROZEN else None
        for item, version in zip(bases, answers, strict=True)
    ]


async def freeze(store: Scripts, site: str, item: str, *, frozen: bool) -> bool:
    """Refuse every reaction to an item, as ``Forbidden``, or take them again. What is counted stays.

    Returns:
        Whether that is a change.

    Raises:
        Unavailable: not confirmed in time.
    """
    return bool(await store.commit(_FREEZE, [store.namespace.item_key(site, item)], int(frozen)))
