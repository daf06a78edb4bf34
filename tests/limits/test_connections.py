"""Limits of connections: of an address and of a server, over WebSocket, streams and plain HTTP."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from tallycast.contract.errors import CloseCode
from websockets.exceptions import InvalidStatus

from tests.client.http1 import HANDSHAKE, open_http
from tests.conftest import MakeServer
from tests.limits.support import check_limited, client, opening, refused
from tests.support.process import ServerProcess
from tests.support.waiting import eventually


async def is_accepted(server: ServerProcess) -> bool:
    """Whether a new connection stays open, rather than being closed at once or answered 503."""
    try:
        return await refused(server) is None
    except InvalidStatus:
        return False


async def test_connections_of_one_address(tight: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(opening(tight, "192.0.2.1")) for _ in range(6)]
        assert await refused(tight, "192.0.2.1") == CloseCode.OVERLOADED
        assert await refused(tight, "192.0.2.2") is None
        async with client(tight, "192.0.2.1") as http:
            check_limited(await http.get("/v1/stream?item=a"))
        await lines[0].close()
        assert await refused(tight, "192.0.2.1") is None


async def test_new_connections_of_one_address(tight: ServerProcess) -> None:
    """Streams count too, and forged addresses further to the left do not help."""
    async with client(tight, "192.0.2.3") as http:
        for _ in range(5):
            async with http.stream("GET", "/v1/stream?item=a") as answer:
                assert answer.status_code == 200
        found = [await refused(tight, f"198.51.100.{n}, 192.0.2.3") for n in range(8)]
        assert found == [None] * 5 + [CloseCode.OVERLOADED] * 3
        check_limited(await http.get("/v1/stream?item=a"))


async def test_connections_in_all(make_server: MakeServer) -> None:
    """What is said when there are many, and when there is no room even to say it."""
    server = make_server(flags=["--connections", "10"], limited=True)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(client(server))
        lines = [await stack.enter_async_context(opening(server)) for _ in range(8)]
        streams = [await stack.enter_async_context(http.stream("GET", "/v1/stream?item=a")) for _ in range(2)]
        assert {stream.status_code for stream in streams} == {200}
        assert await refused(server) == CloseCode.OVERLOADED
        answer = await http.get("/v1/stream?item=a")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1

        # One that does not answer the close keeps its place for a while.
        silent = await stack.enter_async_context(open_http(server))
        assert (await silent.get("/ws", *HANDSHAKE))[0] == 101
        with pytest.raises(InvalidStatus) as caught:
            await refused(server)
        assert caught.value.response.status_code == 503
        assert json.loads(caught.value.response.body or b"")["code"] == "unavailable"
        assert int(caught.value.response.headers["Retry-After"]) >= 1
        for path in ("/livez", "/readyz"):
            assert (await http.get(path)).status_code == 200
        await silent.close()

        await lines[0].close()
        await streams[0].aclose()
        await eventually(lambda: is_accepted(server))
        assert (await lines[1].ask("ping"))["type"] == "pong", "an accepted connection stays"


async def test_connections_that_are_no_sockets(make_server: MakeServer) -> None:
    """They count like any other, idle or not; those above the limit are refused and closed."""
    server = make_server(flags=["--connections", "10"], limited=True)
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(open_http(server)) for _ in range(10)]
        assert (await idle[0].get("/v1/items?item=a"))[0] == 200

        async with open_http(server) as line:
            status, head = await line.get("/v1/items?item=a")
            assert (status, "connection: close" in head) == (200, True), "one answer, and no place to stay"
            await line.ended()
        async with open_http(server) as line:
            status, head = await line.get("/v1/stream?item=a")
            assert (status, "retry-after: 5" in head) == (503, True)
        assert await refused(server) == CloseCode.OVERLOADED

        idle.append(await stack.enter_async_context(open_http(server)))
        for path, expected in (
            ("/v1/items?item=a", 503),
            ("/embed.js", 503),
            ("/livez", 200),
            ("/readyz", 200),
        ):
            async with open_http(server) as line:
                status, head = await line.get(path, "Origin: https://a.example")
                assert (status, "retry-after: 5" in head) == (expected, expected == 503), path
                assert "connection: close" in head
                assert ("access-control-allow-origin" in head) is path.startswith("/v1/")
                await line.ended()
        async with open_http(server) as line:
            status, head = await line.get("/ws", *HANDSHAKE)
            assert (status, "retry-after: 5" in head) == (503, True)
            await line.ended()

        assert (await idle[0].get("/v1/items?item=a"))[0] == 200, "an accepted connection stays"
        for line in idle[:2]:
            await line.close()
        await eventually(lambda: is_accepted(server))
        # A place goes over to the socket, and comes back once.
        for _ in range(30):
            assert await is_accepted(server)


async def test_idle_connections_end(make_server: MakeServer) -> None:
    server = make_server()
    async with open_http(server) as asked, open_http(server) as silent:
        assert (await asked.get("/livez"))[0] == 200
        await asyncio.gather(asked.ended(), silent.ended())


async def test_connections_of_a_proxy_are_its_clients(tight: ServerProcess) -> None:
    """However many it keeps open, no client is locked out; a stream or socket counts for its own client."""
    many, few = "X-Forwarded-For: 192.0.2.12", "X-Forwarded-For: 192.0.2.13"
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(open_http(tight)) for _ in range(14)]
        for line in lines:
            assert (await line.get("/v1/items?item=a", many))[0] == 200
        for line in lines[:6]:
            status, head = await line.get("/v1/stream?item=a", many)
            assert (status, "text/event-stream" in head) == (200, True)
        status, head = await lines[6].get("/v1/stream?item=a", many)
        assert (status, "connection: close" in head) == (429, False)
        assert (await lines[6].get("/v1/items?item=a", few))[0] == 200, "it goes on"
        assert (await lines[6].get("/v1/stream?item=a", few))[0] == 200
        assert (await lines[7].get("/ws", many, *HANDSHAKE))[0] == 101
        assert (await lines[8].get("/ws", few, *HANDSHAKE))[0] == 101
        await lines[7].ended()
        await lines[0].close()

        async def accepted() -> bool:
            return await refused(tight, "192.0.2.12") is None

        await eventually(accepted)
