"""HTTP below the application: what is no HTTP, and what httptools alone would not take."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.support.process import ServerProcess


async def exchange(url: str, data: bytes) -> tuple[bytes, bytes]:
    """Send bytes; the answer's head and body."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
async def test_what_is_no_http_is_a_problem(server: ServerProcess, data: bytes) -> None:
    head, body = await exchange(server.url, data)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head.lower()
    assert b"no-store" in head.lower()
    assert json.loads(body)["code"] == "bad_message"


async def test_a_query_may_be_longer_than_httptools_takes(server: ServerProcess) -> None:
    query = "&".join(["item=" + "%C3%A9" * 128] * 100)
    assert len(query) > 65536
    request = f"GET /v1/items?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, request.encode())
    assert head.startswith(b"HTTP/1.1 200 ")
    assert [shown["item"] for shown in json.loads(body)["items"]] == ["é" * 128] * 100
