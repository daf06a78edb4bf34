"""Whose address a request and a socket are given, over real connections."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import structlog
import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from tallycast.access.admission import Admission, ConnectionSlot
from tallycast.domain.addresses import Client, networks
from tallycast.domain.limits import Caps
from tallycast.transport.http.problems import CLIENT, on_defect
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.timer_wheel import TimerWheel

UPGRADE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]


class House:
    """A server that only notes its clients."""

    def __init__(self, trusted: str) -> None:
        self.came: list[Client] = []
        self.trusting = trusted != "none"
        place = self

        class Noting(asyncio.Protocol):
            owner: Client | None

            def __init__(self, **_: Any) -> None:
                self.transport: Any = None

            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def upgraded(self, _request: object, _place: ConnectionSlot, client: Client) -> None:
                place.came.append(client)
                self.transport.close()

        context = HttpContext(networks(trusted), TimerWheel(), 10.0, Admission(Caps(), lambda: 0.0))
        config = uvicorn.Config(
            self.application,
            http=partial(Http, context),  # type: ignore[arg-type]
            ws=Noting,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self.server = uvicorn.Server(config)
        self.listener = socket.create_server(("127.0.0.1", 0))

    async def application(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.came.append(scope[CLIENT])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, *headers: str) -> Client:
        """The client of a request with these headers."""
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        closing = [] if "Connection: Upgrade" in headers else ["Connection: close"]
        writer.write("\r\n".join(["GET / HTTP/1.1", "Host: x", *headers, *closing, "", ""]).encode("latin-1"))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        return self.came.pop()


@pytest.fixture(params=["127.0.0.0/8", "none"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    place = House(request.param)
    serving = asyncio.create_task(place.server.serve(sockets=[place.listener]))
    yield place
    place.server.should_exit = True
    await serving


@pytest.mark.parametrize("upgrade", [[], UPGRADE], ids=["http", "socket"])
async def test_the_address_of_a_client(place: House, upgrade: list[str]) -> None:
    assert await place.ask(*upgrade) == Client("127.0.0.1", forwarded=False)
    forged = ["X-Forwarded-For: 6.6.6.6", "X-FORWARDED-FOR: \xff, ::ffff:198.51.100.7, 127.0.0.9"]
    came = await place.ask(*forged, *upgrade)
    assert came == Client("198.51.100.7" if place.trusting else "127.0.0.1", forwarded=True)


@pytest.mark.parametrize("upgrade", [[], UPGRADE], ids=["http", "socket"])
@pytest.mark.parametrize("header", ["Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "Via: 1.1 proxy"])
async def test_a_proxy_that_names_no_address_to_believe(
    place: House, header: str, upgrade: list[str]
) -> None:
    """Its clients are not taken for this machine itself, which has no limits by address."""
    assert await place.ask(header, *upgrade) == Client("127.0.0.1", forwarded=True)


async def test_a_defect_says_whose_request_it_was() -> None:
    """The log leaves it out unless it was asked for."""
    scope = {"type": "http", "path": "/v1/items", CLIENT: Client("198.51.100.7", True)}
    with structlog.testing.capture_logs() as said:
        await on_defect(Request(scope), ValueError("a mistake"))
        await on_defect(Request({"type": "http", "path": "/"}), ValueError("a mistake"))
    assert [line["client"] for line in said] == ["198.51.100.7", ""]
