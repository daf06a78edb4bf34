"""A reverse proxy that refuses WebSocket upgrades, as some company networks do.

Does not depend on browsers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from .tabs import Server

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Proxy:
    url: str


@asynccontextmanager
async def without_upgrades(server: Server) -> AsyncIterator[Proxy]:
    """Pass everything on to `server` over HTTP/1.1, but answer 403 to what wants to be a socket."""
    links: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        links.add(task)
        try:
            await _pass_on(reader, writer, urlsplit(server.url).port or 80)
        finally:
            links.discard(task)
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Proxy(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    finally:
        listener.close()
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """A browser opens a connection of its own for an upgrade: the first request tells which it is."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    if b"upgrade: websocket" in head.lower():
        writer.write(REFUSAL)
        return
    above, below = await asyncio.open_connection("127.0.0.1", port)
    below.write(head)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, below))
            both.create_task(_copy(above, writer))
    finally:
        below.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()
