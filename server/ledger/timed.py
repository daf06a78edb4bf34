"""Runs a script that must not take effect when nobody waits for it any more.

The script's first argument is a deadline in the engine's time (µs). It returns MessagePack: ``[now]`` when it
came too late, else ``[now, answer]``.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgpack

from server.errors import OutcomeUnknown, Unavailable
from server.ledger.engine import DEADLINE, Engine, Script

# Added (s) to a deadline where it is waited for, because two clocks never run alike.
MARGIN = 0.1


async def run(engine: Engine, script: Script, names: Sequence[bytes], *arguments: bytes | str | int) -> Any:
    """The script's answer.

    Raises:
        Unavailable: it did not confirm in time. It may have taken effect; it will not do so later.
    """
    reply = await _once(engine, script, names, *arguments)
    if len(reply) == 1:
        # Nothing took effect. The engine's clock may have been set; it is known anew now.
        reply = await _once(engine, script, names, *arguments)
    if len(reply) == 1:
        raise Unavailable("the engine came to it too late", retry_after=1.0)
    return reply[1]


async def _once(engine: Engine, script: Script, names: Sequence[bytes], *arguments: bytes | str | int) -> Any:
    # Without an engine this fails already, at once, and nothing was sent.
    deadline = await engine.deadline()
    sent = time.monotonic()
    try:
        reply = msgpack.unpackb(await engine.run(script, names, deadline, *arguments))
    except OutcomeUnknown:
        # It may lie in the buffer of an engine that stands still. "Unavailable" is not said, and nothing
        # else is sent that it could overtake, before the engine would refuse it.
        await asyncio.sleep(sent + DEADLINE + MARGIN - time.monotonic())
        raise
    engine.tick(reply[0])
    return reply
