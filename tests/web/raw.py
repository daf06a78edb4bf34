"""A WebSocket client that sends any bytes it likes, for what a well-behaved library would never send."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

DEADLINE = 10.0


class Raw:
    """One connection after its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self.head = head

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def frame(
        self, opcode: Opcode, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: bool = False
    ) -> None:
        """Send a frame; ``rsv`` sets a reserved bit."""
        data = bytearray(Frame(opcode, payload, fin).serialize(mask=mask))
        if rsv:
            data[0] |= 0x40
        await self.send(bytes(data))

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(DEADLINE):
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def closed_with(self) -> int | None:
        """Read to the end; the close code, or ``None`` when the end came without one."""
        while True:
            try:
                opcode, payload = await self.receive()
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2]) if payload else 1005


@asynccontextmanager
async def raw(
    url: str, path: str = "/ws", *, receive_buffer: int | None = None, headers: str = ""
) -> AsyncIterator[Raw]:
    """Connect to a server at ``url`` and shake hands; ``headers`` are whole lines."""
    address = urlsplit(url)
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    # A small limit, so that asyncio reads no more from the socket than the test does.
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE):
            head = await reader.readuntil(b"\r\n\r\n")
        yield Raw(reader, writer, head)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass
