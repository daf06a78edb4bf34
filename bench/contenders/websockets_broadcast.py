"""``websockets.broadcast`` on the asyncio server of websockets, on uvloop, without compression and pings."""

import asyncio
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.contenders.common import group_of, port

groups: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    assert connection.request is not None
    group = groups[group_of(connection.request.path)]
    group.add(connection)
    try:
        async for message in connection:
            assert isinstance(message, str)
            name, _, payload = message.partition("|")
            broadcast(groups[name], payload)
    finally:
        group.discard(connection)


async def main() -> None:
    """Serve until killed."""
    async with serve(
        handle, "127.0.0.1", port(), compression=None, ping_interval=None, server_header=None, backlog=4096
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
