"""Opening a socket: subprotocols, origins, sites, and the item in the URL."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import InvalidStatus

from tests.client.checked import connect, turned_away
from tests.client.http import Http
from tests.client.messages import JSON, MSGPACK, Server, new_item, query


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ([JSON], JSON),
        ([MSGPACK], MSGPACK),
        ([JSON, MSGPACK], JSON),
        ([MSGPACK, JSON], MSGPACK),
        (["graphql-ws", MSGPACK, JSON], MSGPACK),
        (["graphql-ws", "tallycast.v2.json", JSON], JSON),
    ],
)
async def test_first_supported_subprotocol_wins(server: Server, offer: list[str], chosen: str) -> None:
    async with connect(server, chosen, offer=offer) as client:  # asserts which one was chosen
        await client.ping()


async def test_no_subprotocol_offered_is_json(server: Server) -> None:
    async with connect(server, None, new_item()) as client:
        await client.next("counts")
        await client.ping()


@pytest.mark.parametrize("offer", [["graphql-ws"], ["tallycast.v2.json", "TALLYCAST.V1.JSON"]])
async def test_only_unknown_subprotocols_is_400(server: Server, offer: list[str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server, None, offer=offer):
            pass
    answer = refused.value.response
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = json.loads(answer.body or b"")
    assert (problem["status"], problem["code"]) == (400, "bad_message")
    assert "tallycast.v1.json" in problem["detail"]


async def test_no_socket_at_another_path(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server, path=f"/nowhere?{query()}"):
            pass
    assert 400 <= refused.value.response.status_code < 500


async def test_site_is_default_when_left_out(server: Server, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item, path=f"/ws?{query(item, site=None)}") as client:
        assert (await client.next("counts", item=item))["version"] == 0


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:8000", "https://bücher.example"])
async def test_listed_origins_are_let_in(server: Server, origin: str) -> None:
    async with connect(server, origin=origin.encode("idna").decode() if "ü" in origin else origin) as client:
        await client.ping()


async def test_origin_null_is_closed_with_4503(server: Server, protocol: str) -> None:
    path = f"/ws?{query(new_item())}"
    assert await turned_away(server, path, protocol=protocol, origin="null") == 4503
    assert await turned_away(server, f"/ws?{query()}", protocol=protocol, origin="null") == 4503


@pytest.mark.parametrize("site", ["nobody", "Default", "default%20", "default%00", "d%C3%A9fault", "%FF"])
async def test_unknown_site_is_closed_with_4504(server: Server, protocol: str, site: str) -> None:
    assert await turned_away(server, f"/ws?site={site}&item=a", protocol=protocol) == 4504
    assert await turned_away(server, f"/ws?site={site}", protocol=protocol) == 4504


BAD_IN_URL = {
    "empty": "",
    "nul": "a%00b",
    "newline": "a%0Ab",
    "unit-separator": "%1F",
    "delete": "%7F",
    "c1-first": "%C2%80",
    "c1-last": "%C2%9F",
    "not-utf8": "%FF",
    "cut-utf8": "a%C3",
    "overlong": "%C0%AF",
    "surrogate": "%ED%A0%80",
    "257-bytes": "x" * 257,
    "257-bytes-in-129-characters": "%C3%A9" * 128 + "x",
    "2-kB": "x" * 2000,
}


@pytest.mark.parametrize("item", BAD_IN_URL.values(), ids=BAD_IN_URL)
async def test_bad_item_in_the_url_is_closed_with_4505(server: Server, protocol: str, item: str) -> None:
    assert await turned_away(server, f"/ws?site=default&item={item}", protocol=protocol) == 4505


GOOD_IN_URL = {
    "plus-is-a-space": ("a+b", "a b"),
    "encoded-space": ("a%20b", "a b"),
    "encoded-plus": ("a%2Bb", "a+b"),
    "encoded-accent": ("caf%C3%A9", "café"),
    "lower-case-hex": ("caf%c3%a9", "café"),
    "no-normalisation": ("cafe%CC%81", "cafe\u0301"),
    "ampersand-and-equals": ("a%26b%3Dc", "a&b=c"),
    "bare-equals": ("a=b", "a=b"),
    "slash-colon-question": ("posts/42:x?y", "posts/42:x?y"),
    "percent": ("100%25", "100%"),
    "no-break-space": ("%C2%A0", "\u00a0"),
    "emoji": ("%F0%9F%91%8D", "\U0001f44d"),
    "256-bytes": ("x" * 256, "x" * 256),
    "256-bytes-encoded": ("%C3%A9" * 128, "é" * 128),
    "one-byte": ("~", "~"),
}


@pytest.mark.parametrize(("written", "meant"), GOOD_IN_URL.values(), ids=GOOD_IN_URL)
async def test_item_in_the_url_is_decoded(server: Server, protocol: str, written: str, meant: str) -> None:
    async with connect(server, protocol, meant, path=f"/ws?site=default&item={written}") as client:
        assert (await client.next("counts"))["item"] == meant


async def test_bytes_of_a_frame_may_come_in_pieces(server: Server, protocol: str) -> None:
    """The WebSocket layer itself: fragments are one message, pings are answered, closing is agreed."""
    async with connect(server, protocol) as client:
        data = b"\x82\xa4type\xa4ping\xa3ref\x05" if protocol == MSGPACK else '{"type":"ping","ref":5}'
        client._raw_refs.add(5)
        await client.ws.send([data[:3], data[3:9], data[9:]])  # type: ignore[arg-type]
        assert (await client.next(ref=5))["type"] == "pong"
        async with asyncio.timeout(5):
            await (await client.ws.ping(b"still there?"))
            await client.ws.close(1000)
        assert client.ws.close_code == 1000


async def test_what_was_turned_away_left_nothing_behind(server: Server, http: Http) -> None:
    item = new_item()
    await turned_away(server, f"/ws?{query(item)}", origin="null")
    assert (await http.item(item))["version"] == 0
