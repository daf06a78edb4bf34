"""A server that stops says so, and one that comes back still knows everything."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed

from tests.client.checked import connect
from tests.client.http import Http
from tests.client.messages import JSON, MSGPACK, GoneError, new_item
from tests.client.websocket import stall
from tests.support.waiting import eventually

from .stream import listen

# Far more than a slow machine needs for what is not meant to wait.
LONG = 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_bye_then_1012_then_as_if_nothing_happened(make_server: Any, number: signal.Signals) -> None:
    server = await asyncio.to_thread(make_server)
    items = [new_item(), new_item()]
    async with Http(server) as http:
        alice = await http.visitor()
    async with (
        connect(server, JSON, items[0], token=alice.token) as page,
        connect(server, MSGPACK) as other,
        listen(server, *items) as stream,
    ):
        await other.watch(*items)
        await stream.until(lambda: len(stream.shown) == len(items))
        ack = await page.react(items[0], "like")
        await other.until_at(items[0], ack["version"])
        os.kill(server.pid, number)
        for client in (page, other):
            assert (await client.next("bye"))["retry_after"] < 60
        await stream.until(lambda: stream.over)
        assert stream.frames[-1]["type"] == "bye"
        for client in (page, other):
            assert await client.closed(within=30) == 1012
        since = {item: shown.version for item, shown in other.shown.items()}
    assert await asyncio.to_thread(server.wait) == 0
    await asyncio.to_thread(server.start)
    async with connect(server, MSGPACK, token=alice.token) as back:
        watched = await back.watch(*items, since=since)
        assert watched.counts == {}, "`since` is what is stored"
        assert watched.mine[items[0]]["reaction"] == "like"
        assert (await back.react(items[0], "like"))["version"] == ack["version"]
        assert (await back.react(items[0], None))["version"] > ack["version"]


async def test_until_its_turn_to_close_a_connection_works(make_server: Any) -> None:
    """Closes are spread over the time there is, on both workers; nobody is let in meanwhile."""
    server = await asyncio.to_thread(make_server, flags=["--workers", "2", "--drain", str(LONG)])
    item = new_item()
    async with Http(server) as http, AsyncExitStack() as stack:
        visitors = [await http.visitor() for _ in range(40)]
        pages = [
            await stack.enter_async_context(connect(server, JSON, item, token=visitor.token))
            for visitor in visitors
        ]
        os.kill(server.pid, signal.SIGTERM)
        for page in pages:
            await page.next("bye")
        with pytest.raises(httpx.ConnectError):
            await asyncio.to_thread(httpx.get, f"{server.url}/readyz")
        # One connection leaves after the other. Whose turn has not come is served as ever.
        served = 0
        while not all(page._over for page in pages):
            for page in pages:
                if not page._over:
                    try:
                        await page.react(item, ("like", "dislike")[served % 2])
                        served += 1
                    except (ConnectionClosed, GoneError):
                        await page.closed()  # only a close is no answer
        assert {await page.closed() for page in pages} == {1012}
    assert served > 0
    # At ten a second it did not take all of the time.
    assert await asyncio.to_thread(server.wait, LONG) == 0


async def test_what_is_under_way_over_http_is_finished(make_server: Any, engine: str) -> None:
    """The engine stands still when the order comes, and answers a little later."""
    server = await asyncio.to_thread(make_server, env={"REDIS_URL": engine})
    with Redis.from_url(engine) as client:
        pid = client.info("server")["process_id"]
        async with httpx.AsyncClient(base_url=server.url) as http:
            token = (await http.post("/v1/visitors")).json()["token"]
            os.kill(pid, signal.SIGSTOP)
            try:
                reacting = asyncio.create_task(
                    http.put(
                        "/v1/reaction",
                        params={"item": "x"},
                        json={"reaction": "like"},
                        headers={"Authorization": f"Bearer {token}"},
                    )
                )
                ready = await http.get("/livez")
                assert ready.status_code == 200
                os.kill(server.pid, signal.SIGTERM)
                # A connection that waits is answered once more: that the server is not ready.
                answers: list[httpx.Response] = []

                async def last() -> bool:
                    answers.append(await http.get("/readyz"))
                    return answers[-1].status_code == 503

                await eventually(last)
                assert answers[-1].headers["connection"] == "close"
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await reacting).status_code == 200
    assert await asyncio.to_thread(server.wait) == 0


async def test_stalled_peers_do_not_hold_up_the_end(make_server: Any) -> None:
    """Neither a reader that stopped, nor a request that never ends, nor one that ignores the close."""
    server = await asyncio.to_thread(make_server, flags=["--drain", "6"])
    host, port = server.url.removeprefix("http://").split(":")
    item = new_item()
    with socket.create_connection((host, int(port))) as half, stall(server.url):
        half.sendall(b"PUT /v1/reaction?item=x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        async with connect(server, JSON, item) as page:
            began = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            await page.next("bye")
            assert await page.closed() == 1012
        assert await asyncio.to_thread(server.wait, 30) == 0
        took = time.monotonic() - began
    assert took > 3, "they were given their time"
