"""Whether the engine accepts writes.

Owns when that is tried: periodically, because there may be no reactions just now, and soon after a failure.
An engine that is out of memory, cannot persist, became a replica or has too few replicas refuses a script
that may write before it begins, so the probe is a script that writes nothing. Does not depend on how the
engine is reached.
"""

import asyncio

from tallycast.contract.errors import Unavailable
from tallycast.engine.scripts import LUA, Script
from tallycast.engine.store import Store

INTERVAL = 5.0
# After any failure.
RETRY_INTERVAL = 1.0

_WRITABLE = Script(LUA, "writable.lua")


async def run(store: Store) -> None:
    """Keep ``store.health.writable`` up to date, until cancelled."""
    health = store.health
    while True:
        health.recheck_due = False
        health.record_write(await accepts_writes(store))
        for _ in range(round(INTERVAL / RETRY_INTERVAL)):
            await asyncio.sleep(RETRY_INTERVAL)
            if health.recheck_due or not health.writable:
                break


async def accepts_writes(store: Store) -> bool:
    """Whether every primary accepts writes."""
    try:
        for key in store.probe_keys():
            await store.commit(_WRITABLE, [key])
    except Unavailable:
        return False
    return True
