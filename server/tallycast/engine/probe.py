"""Whether the engine takes what is written.

Owns when that is tried: now and then, because nobody may be reacting just now, and soon after it failed. One
that is out of memory, cannot persist, became a replica or has too few of its own refuses a script that may
write before it begins, so one is tried that writes nothing. Must not know how the engine is reached.
"""

import asyncio

from tallycast.contract.errors import Unavailable
from tallycast.engine.scripts import Script
from tallycast.engine.store import Store

EVERY = 5.0
# After a failure, anybody's.
AGAIN = 1.0

_WRITABLE = Script("writable.lua")


async def follow(engine: Store) -> None:
    """Keep ``engine.condition.writable`` true to the facts, until cancelled."""
    health = engine.health
    while True:
        health.doubted = False
        health.wrote(await look(engine))
        for _ in range(round(EVERY / AGAIN)):
            await asyncio.sleep(AGAIN)
            if health.doubted or not health.writable:
                break


async def look(engine: Store) -> bool:
    """Whether every node takes what is written."""
    try:
        for name in engine.everywhere():
            await engine.timed(_WRITABLE, [name])
    except Unavailable:
        return False
    return True
