"""Readers that stop on a real server: they harm only themselves, and are told the latest or dropped."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Opcode

from server.errors import CloseCode
from server.web.socket import CLOSE_WITHIN, STALL_AFTER
from tests.conftest import MakeServer
from tests.support.processes import clients
from tests.support.waiting import eventually

WATCHERS, STOPPED = 100, 5
# An update of this item is about 350 bytes.
ITEM = "slow/" + "x" * 250
BURST = 4
RECEIVE_BUFFER = 4096
# What a reader that stopped may be sent from before: the buffers of two kernels and one frame, no history.
AT_MOST = 48 * 1024


class Watcher(asyncio.Protocol):
    """Watches the item and reads all that comes, as long as it is let."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._data = bytearray()
        self._shaken = False
        self.transport: asyncio.Transport
        self.received = 0
        self.versions: list[int] = []
        self.latest: dict[str, Any] = {}
        self.closed: int | None = None
        self.over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /ws?item={ITEM} HTTP/1.1\r\nHost: {self._address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._data += data
        if not self._shaken:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101")
            self._shaken, self._data = True, rest
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode is Opcode.CLOSE:
                self.closed = int.from_bytes(payload[:2])
                continue
            message = json.loads(payload)
            if message["type"] == "counts":
                assert "reset" not in message
                self.versions.append(message["version"])
                self.latest = message["counts"]

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True

    @property
    def version(self) -> int:
        """The latest one shown."""
        return self.versions[-1] if self.versions else -1

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


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watcher]:
    """A watcher that was shown its snapshot."""
    address = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (address.hostname, address.port))
    transport, watcher = await loop.create_connection(lambda: Watcher(url), sock=sock)
    try:
        await eventually(lambda: bool(watcher.versions))
        yield watcher
    finally:
        transport.abort()


class Visitor:
    """One who reacts, and knows what was confirmed last."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._turn = 0
        self.version = 0
        self.counts: dict[str, int] = {}

    async def burst(self) -> None:
        """Change some times what it holds; wait for the answers."""
        for _ in range(BURST):
            self._turn += 1
            wish = {"type": "react", "item": ITEM, "reaction": ("like", "dislike", None)[self._turn % 3]}
            await self._line.send(json.dumps(wish))
        for _ in range(BURST):
            answer = json.loads(await self._line.recv())
            assert answer["type"] == "ack", answer
            self.version, self.counts = answer["version"], answer["counts"]


async def test_who_does_not_read_is_dropped_and_who_comes_back_is_told_the_latest(
    make_server: MakeServer,
) -> None:
    # Two workers: what holds for each holds for one.
    server = make_server(flags=["--workers", "2"])
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url))
        token = (await http.post("/v1/visitors")).json()["token"]
        line = await stack.enter_async_context(connect(f"{server.ws_url}/ws"))
        await line.send(json.dumps({"type": "auth", "token": token}))
        await line.recv()
        visitor = Visitor(line)
        watchers = [await stack.enter_async_context(watching(server.url)) for _ in range(WATCHERS)]
        stopped, comes_back, others = watchers[:STOPPED], watchers[STOPPED], watchers[STOPPED + 1 :]
        for watcher in (*stopped, comes_back):
            watcher.transport.pause_reading()

        def connected() -> int:
            return sum(clients(worker) for worker in server.workers)

        before = connected()

        def told(*these: Watcher) -> bool:
            return all(one.version == visitor.version and one.latest == visitor.counts for one in these)

        while min(one.received for one in others) < 2 * AT_MOST:
            await visitor.burst()
            await eventually(lambda: told(*others))

        comes_back.transport.resume_reading()
        await eventually(lambda: told(comes_back))
        assert comes_back.received < AT_MOST, "what was overtaken was not kept for it"
        await visitor.burst()
        await eventually(lambda: told(comes_back, *others))

        # Some time after they took nothing any more, and not those that read.
        dropped = STALL_AFTER + CLOSE_WITHIN
        await eventually(lambda: connected() == before - STOPPED, within=dropped + 10)
        await visitor.burst()
        await eventually(lambda: told(comes_back, *others))
        for watcher in stopped:
            watcher.transport.resume_reading()
        await eventually(lambda: all(watcher.over for watcher in stopped))
        assert all(watcher.received < AT_MOST for watcher in stopped)
        assert {watcher.closed for watcher in stopped} <= {None, CloseCode.STALLED}
        for watcher in watchers:
            assert watcher.versions == sorted(set(watcher.versions)), "versions rise"
