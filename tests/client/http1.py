"""Kept connections of HTTP/1.1, one request at a time, for what a pool of connections hides."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.process import ServerProcess


class HttpConnection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, *headers: str) -> tuple[int, str]:
        """Status and head of the answer, whose body is read too."""
        request = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
        self._writer.write("\r\n".join(request).encode())
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            if (size := re.search(r"content-length: (\d+)", head)) is not None:
                await self._reader.readexactly(int(size[1]))
        return int(head.split()[1]), head

    async def ended(self) -> None:
        """Wait for the server to end it."""
        async with asyncio.timeout(60):
            await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def open_http(server: ServerProcess) -> AsyncIterator[HttpConnection]:
    """A connection to a server, until the end of the context."""
    connection = HttpConnection(
        *await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    )
    yield connection
    await connection.close()


HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
