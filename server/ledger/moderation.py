"""What a publisher may do to an item: reset it, freeze it.

Each is one atomic step, takes effect before its deadline or not at all, and is harmless to repeat. Must not
know who may ask.
"""

from server.errors import Unavailable
from server.ledger import keys, timed
from server.ledger.engine import Engine, Script

PAGE = 500

_RESET = Script("reset.lua", "layout.lua")
_FREEZE = Script("freeze.lua", "layout.lua")


async def reset(engine: Engine, site: str, item: str) -> int:
    """Forget who reacted to an item: nobody holds anything on it, and its counts are 0. Frozen stays frozen.

    That is published like every change, with a higher version, so for whoever watches it is an ordinary
    update. What visitors are shown as their own reaction is not: they learn of it when they next ask.

    Returns:
        The item's version (µs since 1970); 0 when nobody ever touched it, and nothing was done.

    Raises:
        Unavailable: not confirmed in time.
    """
    version, generation, buckets = await timed.run(engine, _RESET, [keys.item_key(site, item)])
    left = [keys.bucket_key(site, item, generation, number) for number in range(1, buckets)]
    try:
        for at in range(0, len(left), PAGE):
            await engine.command("UNLINK", *left[at : at + PAGE])
    except Unavailable:
        pass  # it is only memory
    return int(version)


async def freeze(engine: Engine, site: str, item: str, *, frozen: bool) -> bool:
    """Refuse every reaction to an item, as ``Forbidden``, or take them again. What is counted stays.

    Returns:
        Whether that is a change.

    Raises:
        Unavailable: not confirmed in time.
    """
    return bool(await timed.run(engine, _FREEZE, [keys.item_key(site, item)], int(frozen)))
