"""Streams of a real server: readers that are slow or leave, and an engine that is away."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx

from tests.client.tokens import bearer, visitor_token
from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.waiting import eventually


async def votes(url: str, items: list[str], timers: int) -> dict[str, int]:
    """Vote on every item so many times; the last version of each."""
    last: dict[str, int] = {}
    async with httpx.AsyncClient(base_url=url) as http:
        token = await visitor_token(http)
        for turn in range(timers):
            reaction = {"reaction": ("like", "dislike")[turn % 2]}
            asks = [
                http.put(
                    "/v1/reaction",
                    params={"item": item},
                    json=reaction,
                    headers=bearer(token),
                )
                for item in items
            ]
            for answer in await asyncio.gather(*asks):
                last[answer.json()["item"]] = answer.json()["version"]
    return last


async def test_a_slow_reader_gets_the_latest_and_not_the_history(server: ServerProcess) -> None:
    items = [f"slow-stream-{number}-{'x' * 200}" for number in range(50)]
    timers = 12
    address = urlsplit(server.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    try:
        query = "&".join(f"item={item}" for item in items)
        writer.write(f"GET /v1/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        shown: dict[str, int] = {}
        events = 0

        async def take_a_line() -> None:
            nonlocal events
            line = await reader.readline()
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert event["version"] > shown.get(event["item"], -1)
                shown[event["item"]] = event["version"]
                events += 1

        for _ in range(timers // 2):
            last = await votes(server.url, items, 2)
            for _ in range(15):  # slow, and not stalled: that would end it
                await take_a_line()
        async with asyncio.timeout(60):
            while shown != last:
                await take_a_line()
        assert events < len(items) * timers, "what was overtaken is not sent"
    finally:
        writer.close()


async def test_readers_that_leave_or_stop_reading_are_no_defect(make_server: MakeServer) -> None:
    server = await asyncio.to_thread(make_server)
    async with httpx.AsyncClient(base_url=server.url) as http:
        for _ in range(5):
            async with http.stream("GET", "/v1/stream?item=leaving") as answer:
                await anext(answer.aiter_bytes())
        async with http.stream("GET", "/v1/stream?item=staying") as answer:
            await anext(answer.aiter_bytes())
            assert await asyncio.to_thread(server.terminate) == 0
    assert "rror" not in server.output()
    assert "Traceback" not in server.output()


async def test_none_begins_without_the_engine_and_one_that_runs_outlives_it(make_server: MakeServer) -> None:
    server = await asyncio.to_thread(make_server)
    engine = server.engine
    assert engine is not None
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=20) as http,
        http.stream("GET", "/v1/stream?item=known", timeout=60) as running,
    ):
        lines = running.aiter_lines()
        await versions(lines, 0)
        os.kill(engine, signal.SIGSTOP)
        refused = await http.get("/v1/stream?item=unknown")
        os.kill(engine, signal.SIGKILL)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert "no-store" in refused.headers["cache-control"]

        async def engine_is_back() -> bool:
            return server.engine not in (None, engine) and (await http.get("/readyz")).status_code == 200

        await eventually(engine_is_back, within=30)
        last = (await votes(server.url, ["known"], 2))["known"]
        async with asyncio.timeout(30):
            await versions(lines, last)


async def versions(lines: AsyncIterator[str], wanted: int) -> None:
    """Read until an event has this version."""
    async for line in lines:
        if line.startswith("data: ") and json.loads(line[6:]).get("version") == wanted:
            return
    raise AssertionError("the stream ended")
