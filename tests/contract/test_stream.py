"""The event stream: the same objects as on a socket, for pages that cannot have one."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import Future
from typing import Any

import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, ZERO, Frame, Server, new_item, query

from .stream import listen
from .test_http_errors import BAD_ITEMS, PAGE, allows


def path(*items: str, site: str | None = "default") -> str:
    return f"/v1/stream?{query(*items, site=site)}"


async def test_it_starts_with_a_snapshot_of_each_item(server: Server, http: Http, alice: Visitor) -> None:
    items = [new_item() for _ in range(3)]
    ack = await http.react(items[1], "like", alice.token)
    async with listen(server, *items) as stream:
        first = [await stream.next() for _ in items]
        assert sorted(frame["item"] for frame in first) == sorted(items)
        assert {frame["type"] for frame in first} == {"counts"}
        assert stream.shown[items[0]].counts == ZERO
        assert (stream.shown[items[0]].version, stream.shown[items[1]].version) == (0, ack["version"])
        assert stream.shown[items[1]].counts == ack["counts"]


async def test_it_sends_what_the_sockets_get(
    server: Server, http: Http, alice: Visitor, bob: Visitor
) -> None:
    item, other = new_item(), new_item()
    async with (
        listen(server, item, other) as stream,
        listen(server, item) as one,
        connect(server, JSON, item, token=bob.token) as page,
    ):
        await stream.until(lambda: len(stream.shown) == 2)
        await one.until(lambda: one.shown)
        await http.react(item, "like", alice.token)
        ack = await page.react(item, "dislike")
        for reader in (stream, one):
            assert (await reader.until_shows(item, like=1, dislike=1)).version == ack["version"]
        await http.react(other, "like", bob.token)
        await stream.until_shows(other, like=1)
        ack = await page.react(item, None)
        await stream.until_shows(item, like=1)
        assert (await one.until_shows(item, like=1)).version == ack["version"]
        assert other not in one.shown
        assert {frame["type"] for frame in stream.frames} == {"counts"}


async def test_no_visitors_own_votes_are_sent(server: Server, http: Http, alice: Visitor) -> None:
    """A token changes nothing: there is no `mine` on a stream."""
    item = new_item()
    await http.react(item, "like", alice.token)
    async with listen(server, item, headers={"Authorization": f"Bearer {alice.token}"}) as stream:
        await stream.until_shows(item, like=1)
        await http.react(item, "dislike", alice.token)
        await stream.until_shows(item, dislike=1)
        assert {frame["type"] for frame in stream.frames} == {"counts"}


async def test_last_event_id_is_ignored(server: Server, http: Http, alice: Visitor) -> None:
    item = new_item()
    ack = await http.react(item, "like", alice.token)
    for last in ("", "0", str(ack["version"]), str(2**53), "x" * 500):
        async with listen(server, item, headers={"Last-Event-ID": last}) as stream:
            frame = await stream.next()
            assert (frame["type"], frame["version"]) == ("counts", ack["version"])


async def test_the_site_is_optional_and_so_is_being_one_of_a_kind(server: Server) -> None:
    item = new_item()
    async with listen(server, path=path(item, item, site=None)) as stream:
        await stream.until_shows(item)
        assert [frame["item"] for frame in stream.frames] == [item]


async def test_ids_of_every_kind(server: Server, http: Http, alice: Visitor) -> None:
    items = [new_item("é\U0001f44d"), new_item("a b+c&d=e%"), new_item('"\\\u2028'), new_item(" x ")]
    async with listen(server, *items) as stream:
        await stream.until(lambda: set(stream.shown) == set(items))
        for item in items:
            await http.react(item, "like", alice.token)
            await stream.until_shows(item, like=1)


async def test_100_items_a_stream(server: Server, http: Http) -> None:
    items = [new_item("é" * 100) for _ in range(100)]
    async with listen(server, *items) as stream:
        await stream.until(lambda: set(stream.shown) == set(items))
    answer = await http.send("GET", path(*items, new_item()))
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_items")


@pytest.mark.parametrize("item", BAD_ITEMS.values(), ids=BAD_ITEMS)
async def test_bad_items(http: Http, item: str) -> None:
    for query_string in (f"site=default&item={item}", f"site=default&item=good&item={item}"):
        answer = await http.send("GET", f"/v1/stream?{query_string}")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_item")


async def test_no_item(http: Http) -> None:
    answer = await http.send("GET", "/v1/stream?site=default")
    assert answer.status_code == 400


@pytest.mark.parametrize("site", ["nobody", "Default", "%FF"])
async def test_unknown_site(http: Http, site: str) -> None:
    assert (await http.send("GET", f"/v1/stream?site={site}&item=a")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods(http: Http, method: str) -> None:
    answer = await http.send(method, path(new_item()))
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


async def test_origins(server: Server, http: Http) -> None:
    item = new_item()
    async with listen(server, item, headers={"Origin": PAGE}) as stream:
        allows(stream.answer)
        await stream.next()
    async with listen(server, item) as stream:
        assert "origin" in stream.answer.headers["vary"].lower()
    refused = await http.send("GET", path(item), headers={"Origin": "null"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in refused.headers
    bad = await http.send("GET", path(""), headers={"Origin": PAGE})
    allows(bad)  # a page must be able to read why


async def test_head_has_no_body_and_ends(http: Http) -> None:
    answer = await http.send("HEAD", path(new_item()))
    assert answer.status_code in (200, 405)
    assert answer.content == b""


async def test_bye_then_the_end(make_server: Any) -> None:
    server = await asyncio.to_thread(make_server)
    item = new_item()
    async with Http(server) as http:
        alice = await http.visitor()
        ack = await http.react(item, "like", alice.token)
    async with listen(server, item) as one, listen(server, item, new_item()) as two:
        for stream in (one, two):
            await stream.until_shows(item, like=1)
        os.kill(server.pid, signal.SIGTERM)
        for stream in (one, two):
            await stream.ended(within=30)
            assert stream.frames[-1]["type"] == "bye"
            assert stream.frames[-1]["retry_after"] < 60
    await asyncio.to_thread(server.wait)
    await asyncio.to_thread(server.start)
    async with listen(server, item) as back:
        assert (await back.until_shows(item, like=1)).version == ack["version"]


def test_beat_after_25_s_of_silence(idle_stream: Future[tuple[float, Frame]]) -> None:
    seconds, frame = idle_stream.result(timeout=45)
    assert frame["type"] == "beat"
    assert 20 < seconds < 35  # 35 s of silence would mean the connection is dead
