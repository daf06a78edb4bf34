"""A client that means well, in a process of its own: how the server treats it while others do not.

Usage, by ``watch`` only: python -m tests.hostile.good URL. Says "ready" when it is connected; ends with its
standard input, and prints what it measured.
"""

import asyncio
import json
import sys
import time

from tests.client.websocket import connect

PAUSE = 0.05
# It comes anew so often (s): the server must let others in.
ANEW = 1.0


async def pinging(url: str, over: asyncio.Event, times: list[float]) -> None:
    """Message and answer, again and again."""
    async with connect(f"{url}/ws?item=good") as line:
        await line.recv()
        print("ready", flush=True)
        while not over.is_set():
            began = time.monotonic()
            await line.ask("ping")
            times.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)


async def connecting(url: str, over: asyncio.Event, times: list[float]) -> None:
    """A new connection, and the counts on it."""
    while not over.is_set():
        began = time.monotonic()
        async with connect(f"{url}/ws?item=good") as line:
            await line.recv()
            times.append(time.monotonic() - began)
        try:
            await asyncio.wait_for(over.wait(), ANEW)
        except TimeoutError:
            pass


async def main(url: str) -> None:
    over = asyncio.Event()
    pongs: list[float] = []
    welcomes: list[float] = []
    work = [
        asyncio.create_task(pinging(url, over, pongs)),
        asyncio.create_task(connecting(url, over, welcomes)),
    ]
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    await asyncio.gather(*work)
    print(json.dumps({"pongs": sorted(pongs), "welcomes": sorted(welcomes)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
