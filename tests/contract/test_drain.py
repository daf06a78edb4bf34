"""A server that stops says so, and one that comes back still knows everything."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from .client import JSON, MSGPACK, Http, connect, new_item


async def test_bye_then_1012_then_as_if_nothing_happened(make_server: Any) -> None:
    server = await asyncio.to_thread(make_server)
    items = [new_item(), new_item()]
    async with Http(server) as http:
        alice = await http.visitor()
    async with connect(server, JSON, items[0], token=alice.token) as page, connect(server, MSGPACK) as other:
        await other.watch(*items)
        ack = await page.react(items[0], "like")
        await other.until_at(items[0], ack["version"])
        os.kill(server.pid, signal.SIGTERM)
        for client in (page, other):
            assert (await client.next("bye"))["retry_after"] < 60
        for client in (page, other):
            assert await client.closed(within=30) == 1012
        since = {item: shown.version for item, shown in other.shown.items()}
    await asyncio.to_thread(server.wait)
    await asyncio.to_thread(server.start)
    async with connect(server, MSGPACK, token=alice.token) as back:
        watched = await back.watch(*items, since=since)
        assert watched.counts == {}, "`since` is what is stored"
        assert watched.mine[items[0]]["reaction"] == "like"
        assert (await back.react(items[0], "like"))["version"] == ack["version"]
        assert (await back.react(items[0], None))["version"] > ack["version"]
