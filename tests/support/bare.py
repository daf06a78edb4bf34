"""A WebSocket client that costs next to nothing, so that thousands of them are no load of their own.

Owns the handshake and the frames as this server sends them: never a fragment, never above 64 KiB. Must not
know what a message means.
"""

import asyncio
import base64
import json
import os
import socket
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.frames import Opcode

# A close frame with its mask, which is zero, before the code.
_CLOSE = b"\x88\x82\0\0\0\0"


class Line(asyncio.Protocol):
    """One connection: ``heard`` gets each message, ``closed`` is the code that the server gave.

    ``over`` is awaited for the end, whoever wanted it.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self.received = 0
        self.shaken = False
        self.closed: int | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self, message: dict[str, Any]) -> None:
        """A message came."""

    def abort(self) -> None:
        """End at once, if there is a connection."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more, until ``resume``."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        assert self._transport is not None
        self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write(self._request)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._data += data
        if not self.shaken:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.shaken, self._data = True, rest
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode is Opcode.CLOSE:
                self.closed = int.from_bytes(payload[:2])
                self._write(_CLOSE + payload[:2])
            elif opcode is Opcode.TEXT:
                self.heard(json.loads(payload))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _next(self) -> tuple[Opcode, bytes] | None:
        """The next whole frame."""
        if len(self._data) < 2 or (self._data[1] == 126 and len(self._data) < 4):
            return None
        size, start = self._data[1], 2
        if size == 126:
            size, start = int.from_bytes(self._data[2:4]), 4
        if len(self._data) < start + size:
            return None
        frame = Opcode(self._data[0] & 0x0F), bytes(self._data[start : start + size])
        del self._data[: start + size]
        return frame


async def open_line(line: Line, url: str, receive_buffer: int | None = None) -> None:
    """Connect it; a refusal of the connection is an ``OSError``."""
    address = urlsplit(url)
    sock = socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (address.hostname, address.port))
        await loop.create_connection(lambda: line, sock=sock)
    except BaseException:
        sock.close()
        raise
