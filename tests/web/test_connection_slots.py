"""How connections are counted, on real ones: those of an address, and those that there is no place for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.api.cors import Origins
from tallycast.domain.addresses import networks
from tallycast.domain.limits import Caps
from tallycast.domain.sites import Site
from tallycast.transport.http import protocol
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.timer_wheel import TimerWheel

from tests.support.waiting import eventually

STRANGER, PROXY = "192.0.2.7", "10.0.0.1"
CAPS = Caps(connections=20, address_connections=5)


async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Place:
    """A server whose connections all come from one address."""

    def __init__(self, peer: str) -> None:
        self.admission = Admission(CAPS, lambda: 0.0)
        self.timers: TimerWheel[Http] = TimerWheel()
        self.context = HttpContext(networks("10.0.0.0/8"), self.timers, 10.0, self.admission)

        class FromThere(Http):
            _peer = peer  # type: ignore[assignment]

        config = uvicorn.Config(
            Origins(application, Guard({"default": Site()}, b"s" * 32), self.admission),
            http=partial(FromThere, self.context),  # type: ignore[arg-type]
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self.server = uvicorn.Server(config)
        self.listener = socket.create_server(("127.0.0.1", 0))

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Any]:
        """A connection, as a function that asks for a path and gives the answer's head."""
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())

        async def ask(path: str, more: str = "") -> str:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
            async with asyncio.timeout(20):
                return (await reader.readuntil(b"\r\n\r\n")).decode().lower()

        yield ask
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.fixture(params=[STRANGER])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    place = Place(request.param)
    serving = asyncio.create_task(place.server.serve(sockets=[place.listener]))
    yield place
    place.server.should_exit = True
    await serving
    assert not place.admission._at_address
    assert place.admission._connections == 0
    assert not place.context.surplus


async def test_an_address_that_has_too_many(place: Place) -> None:
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(place.line()) for _ in range(5)]
        for ask in lines:
            head = await ask("/v1/items")
            assert head.startswith("http/1.1 204")
            assert "connection: close" not in head
        crowded = await stack.enter_async_context(place.line())
        beyond = [await stack.enter_async_context(place.line()) for _ in range(3)]
        await eventually(lambda: len(place.context.surplus) == 3)
        head = await crowded("/v1/items")
        assert head.startswith("http/1.1 204")
        assert "connection: close" in head
        for ask, path, status in zip(
            beyond, ("/v1/items", "/embed.js", "/livez"), (503, 503, 204), strict=True
        ):
            head = await ask(path)
            assert head.startswith(f"http/1.1 {status} ")
            assert "connection: close" in head
            assert ("retry-after: 5" in head) is (status == 503)
        async with place.line() as ask:
            assert (await ask("/v1/items")).startswith("http/1.1 204"), "one has gone"
        head = await lines[0]("/v1/items")
        assert head.startswith("http/1.1 204")


FOREIGN = "Origin: null\r\n"


async def test_a_connection_of_a_refused_origin_does_not_stay(place: Place) -> None:
    """Connections of a page that is not listed take no room from those of one that is."""
    async with AsyncExitStack() as stack:
        for _ in range(10):
            ask = await stack.enter_async_context(place.line())
            head = await ask("/v1/items", FOREIGN)
            assert head.startswith("http/1.1 403")
            assert head.count("connection: close") == 1
            await eventually(lambda: not place.admission._at_address)


@pytest.mark.parametrize("place", [PROXY], indirect=True)
async def test_a_proxys_connection_stays(place: Place) -> None:
    async with place.line() as ask:
        for _ in range(3):
            assert "connection: close" not in await ask("/v1/items", FOREIGN)


@pytest.mark.parametrize("place", [PROXY], indirect=True)
async def test_a_proxy_is_not_locked_out(place: Place) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            ask = await stack.enter_async_context(place.line())
            for number in range(3):
                head = await ask("/v1/items", f"X-Forwarded-For: 198.51.100.{number}\r\n")
                assert head.startswith("http/1.1 204")
                assert "connection: close" not in head


async def test_an_upgrade_has_no_place_either(place: Place) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(place.line())
        ask = await stack.enter_async_context(place.line())
        head = await ask("/ws", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
        assert head.startswith("http/1.1 503 ")
        assert "retry-after: 5" in head


async def test_those_without_a_place_make_room_for_each_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request at once is answered, however many connections send none."""
    monkeypatch.setattr(protocol, "SURPLUS", 4)
    async with AsyncExitStack() as stack:
        silent = [await asyncio.open_connection(*place.listener.getsockname()) for _ in range(40)]
        async with place.line() as ask:
            assert (await ask("/livez")).startswith("http/1.1 204")
        await eventually(lambda: len(place.context.surplus) <= 4)
        gone = 0
        for reader, _ in silent[6:36]:
            try:
                gone += not await asyncio.wait_for(reader.read(), 20)
            except ConnectionResetError:
                gone += 1
        assert gone == 30
        for _, writer in silent:
            stack.push_async_callback(asyncio.gather, writer.wait_closed(), return_exceptions=True)
            writer.close()


async def test_a_client_that_does_not_read_the_answers_is_not_waited_for(place: Place) -> None:
    now = 0.0
    place.timers._clock = lambda: now
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, place.listener.getsockname())
    sent = 0
    request = b"GET /v1/items HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    (connection,) = [await _first(place)]
    while True:
        try:
            sent += sock.send(request)
        except BlockingIOError:
            await asyncio.sleep(0.01)
            if len(connection.pipeline) >= protocol.WAITING and connection.flow.write_paused:
                break
    assert len(connection.pipeline) < 100, "what has come is not all parsed at once"
    for _ in range(200):
        now += 0.1
        place.timers.advance()
    await eventually(lambda: not place.timers.members())
    sock.close()


async def _first(place: Place) -> Http:
    await eventually(lambda: bool(place.timers.members()))
    return place.timers.members()[0]
