"""The engine that a sub-command works on: the one of the servers with the same settings.

Owns connecting to it, and the name of the operator in the trail. Does not depend on what the commands do.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pwd import getpwuid
from typing import TypeVar

from tallycast.config.errors import StartError
from tallycast.config.settings import Settings
from tallycast.contract.errors import Unavailable
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import Store

T = TypeVar("T")

READY_TIMEOUT = 5.0  # seconds


def with_engine(
    settings: Settings, work: Callable[[Store], Awaitable[T]], failure: str = "engine unavailable"
) -> T:
    """Run ``work`` with the engine; ``failure`` says what did not succeed when the engine is unavailable.

    Raises:
        StartError: the engine cannot be used.
    """
    url = settings.redis_url or running_engine(settings.data)

    async def run() -> T:
        engine = open_store(url, prefix=settings.prefix or "")
        try:
            await wait_until_ready(engine, READY_TIMEOUT)
            return await work(engine)
        except Unavailable as refusal:
            raise StartError(f"{failure}: {refusal}") from None
        finally:
            await engine.close()

    return asyncio.run(run())


def operator() -> str:
    """The name in the trail: the user of this machine."""
    try:
        name = getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, for example
        name = str(os.getuid())
    return f"cli:{name}"
