"""Waiting for something to come true, instead of sleeping and hoping.

Deadlines are for what will never come: many times what it takes, because tests run beside one another.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, within: float = 40.0) -> T:
    """The first truthy answer of ``condition``; fails when there is none in time."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.01)
    return answer


async def eventually(condition: Callable[[], Awaitable[bool] | bool], within: float = 40.0) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    limit = time.monotonic() + within
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        assert time.monotonic() < limit, "not within the deadline"
        await asyncio.sleep(0.01)


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task that runs for ever, as often as it takes.

    On Python 3.11 ``asyncio.wait_for``, which redis-py uses, may swallow a cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
