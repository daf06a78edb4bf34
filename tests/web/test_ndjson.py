"""Lines on a real connection: read, not read, and cut off."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tallycast.access.admission import Admission
from tallycast.contract.errors import Unavailable
from tallycast.domain.limits import Caps
from tallycast.transport.http import ndjson
from tallycast.transport.http.ndjson import NdjsonResponse
from tallycast.transport.http.protocol import TRANSPORT, Http, HttpContext
from tallycast.transport.timer_wheel import TimerWheel
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from tests.support.waiting import eventually

LINE = b'"' + b"x" * 997 + b'"\n'


class Place:
    """A server whose every answer is so many lines, and how many of them were asked for."""

    def __init__(self, many: int, fails_at: int | None = None) -> None:
        self.many = many
        self.fails_at = fails_at
        self.made = 0
        self.over = False
        self.transport: Any
        context = HttpContext((), TimerWheel(), 10.0, Admission(Caps(), lambda: 0.0))
        config = uvicorn.Config(
            self.application,
            http=partial(Http, context),  # type: ignore[arg-type]
            interface="asgi3",
            lifespan="off",
            log_config=None,
        )
        self.server = uvicorn.Server(config)
        self.listener = socket.create_server(("127.0.0.1", 0))

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.transport = scope[TRANSPORT]
        try:
            await NdjsonResponse(self.source(), {"Cache-Control": "no-store"})(scope, receive, send)
        finally:
            self.over = True

    async def source(self) -> AsyncIterator[bytes]:
        for number in range(self.many):
            if number == self.fails_at:
                raise Unavailable("the engine is away")
            self.made += 1
            await asyncio.sleep(0)  # as one that asks an engine
            yield LINE

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[asyncio.StreamReader]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(self.listener.getsockname())
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        yield reader
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def serving(place: Place) -> AsyncIterator[Place]:
    task = asyncio.create_task(place.server.serve(sockets=[place.listener]))
    yield place
    place.server.should_exit = True
    await task


async def test_a_line_is_made_when_there_is_room_for_it() -> None:
    async with serving(Place(many=20_000)) as place, place.asked() as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"application/x-ndjson" in head
        # 20 MB are wanted; what is made without a reader is what fits into buffers.
        await eventually(lambda: place.transport.get_write_buffer_size() > HIGH_WATER_LIMIT)
        assert place.made < 15_000
        body = await _to_the_end(reader)
        assert body.count(LINE) == 20_000
        assert place.made == 20_000


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    """The chunks until the last one."""
    body = bytearray()
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size + 2)
    return bytes(body)


async def _breaks_off(reader: asyncio.StreamReader) -> None:
    async def read() -> None:
        await reader.readuntil(b"\r\n\r\n")
        await _to_the_end(reader)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await read()


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "STALL_AFTER", 0.3)
    async with serving(Place(many=20_000)) as place, place.asked() as reader:
        await eventually(lambda: place.over)
        await _breaks_off(reader)
        assert place.made < 15_000


async def test_a_source_that_fails_leaves_no_end(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Place(many=100, fails_at=3)) as place, place.asked() as reader:
        await _breaks_off(reader)
        await eventually(lambda: place.over)
        assert place.made == 3
    assert not caplog.records, "it is no defect"


async def test_a_client_that_leaves_ends_it() -> None:
    async with serving(Place(many=20_000)) as place:
        async with place.asked() as reader:
            await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: place.over)
        assert place.made < 20_000
