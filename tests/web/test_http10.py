"""HTTP/1.0 clients, as nginx is towards its upstreams by default: no chunks, one end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client.tokens import bearer, visitor_token
from tests.support.process import ServerProcess
from tests.web.test_http import exchange
from tests.web.test_ndjson import LINE, Place, serving

VERSIONS = pytest.mark.parametrize("version", ["1.0", "1.1"])


@asynccontextmanager
async def asking(url: str, request: str) -> AsyncIterator[asyncio.StreamReader]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request.encode())
    try:
        async with asyncio.timeout(20):
            yield reader
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def head_of(reader: asyncio.StreamReader) -> dict[str, list[str]]:
    """The fields of an answer's head, each with all of its values."""
    found: dict[str, list[str]] = {}
    for line in (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()[1:-1]:
        name, _, value = line.partition(": ")
        found.setdefault(name, []).append(value)
    return found


async def react(http: httpx.AsyncClient, item: str) -> str:
    """Like an item; the token of the visitor that does."""
    token = await visitor_token(http)
    headers = bearer(token)
    answer = await http.put(f"/v1/reaction?item={item}", json={"reaction": "like"}, headers=headers)
    assert answer.status_code == 200
    return token


@pytest.mark.parametrize("more", ["", "Connection: keep-alive\r\n"])
async def test_a_stream_without_chunks(server: ServerProcess, more: str) -> None:
    request = f"GET /v1/stream?item=http10 HTTP/1.0\r\n{more}\r\n"
    async with httpx.AsyncClient(base_url=server.url) as http, asking(server.url, request) as reader:
        head = await head_of(reader)
        assert "transfer-encoding" not in head
        assert head["connection"] == ["close"]
        assert head["cache-control"] == ["no-store, no-transform"]
        snapshot = await reader.readuntil(b"\n\n")
        assert snapshot.startswith(b"event: counts\ndata: {"), "no size of a chunk before it"
        before = json.loads(snapshot.partition(b"data: ")[2])["counts"]["like"]
        await react(http, "http10")
        update = await reader.readuntil(b"\n\n")
        assert json.loads(update.partition(b"data: ")[2])["counts"]["like"] == before + 1


@pytest.mark.parametrize(("more", "expected"), [("", []), ("Connection: close\r\n", ["close"])])
async def test_a_stream_has_one_connection_header_at_most(
    server: ServerProcess, more: str, expected: list[str]
) -> None:
    request = f"GET /v1/stream?item=http11 HTTP/1.1\r\nHost: a\r\n{more}\r\n"
    async with asking(server.url, request) as reader:
        head = await head_of(reader)
    assert head.get("connection", []) == expected
    assert head["transfer-encoding"] == ["chunked"]


@VERSIONS
@pytest.mark.parametrize("path", ["/v1/stream?item=a", "/embed.js", "/", "/v1/items?item=a"])
async def test_head_ends_at_once(server: ServerProcess, path: str, version: str) -> None:
    request = f"HEAD {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, request.encode())
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.lower().count(b"connection: close") == 1
    assert b"transfer-encoding" not in head.lower()
    assert body == b""


async def test_lines_of_all_that_is_held(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        token = await react(http, "held")
    request = f"GET /v1/me HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n"
    head, body = await exchange(server.url, request.encode())
    assert b"transfer-encoding" not in head.lower()
    assert json.loads(body)["item"] == "held"


@pytest.mark.parametrize(("fails_at", "made"), [(None, 2000), (2000, 2000)])
async def test_the_end_of_the_connection_ends_it_and_a_reset_does_not(
    fails_at: int | None, made: int
) -> None:
    """A part must not be taken for the whole, though nothing but the connection's end says which it is."""
    place = Place(many=made if fails_at is None else made + 1, fails_at=fails_at)
    async with serving(place):
        host, port = place.listener.getsockname()
        async with asking(f"http://{host}:{port}", "GET / HTTP/1.0\r\n\r\n") as reader:
            if fails_at is not None:
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                return
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.read() == LINE * made


@pytest.mark.parametrize(("version", "expected"), [("1.0", False), ("1.1", True)])
async def test_only_http_1_1_waits_for_100_continue(
    server: ServerProcess, version: str, expected: bool
) -> None:
    """HTTP/1.0 would take a 100 for the answer (RFC 9110, section 10.1.1)."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        token = await visitor_token(http)
    body = '{"reaction":"like"}'
    request = (
        f"PUT /v1/reaction?item=a HTTP/{version}\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    answer = b"\r\n\r\n".join(await exchange(server.url, request.encode()))
    assert (b"HTTP/1.1 100 " in answer) is expected
    assert answer.count(b"HTTP/1.1 200 ") == 1
