"""HTTP below the application: what is no HTTP, and what httptools alone would not take."""

import asyncio
import json
import re
import socket
from urllib.parse import urlsplit

import pytest
from tallycast.transport.http.protocol import MAX_HEAD
from websockets.frames import Frame, Opcode

from tests.conftest import MakeServer
from tests.support.process import ServerProcess

NEWCOMER = b"POST /v1/visitors HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


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


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_request_without_upgrade_is_426(server: ServerProcess, method: bytes) -> None:
    request = method + b" /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, request)
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"upgrade: websocket" in head.lower().splitlines()
    assert b"connection: upgrade, close" in head.lower().splitlines(), "one Connection header"
    assert method == b"HEAD" or json.loads(body)["code"] == "bad_message"


@pytest.mark.parametrize("version", [b"", b"\r\nSec-WebSocket-Version: 12"])
async def test_another_websocket_version_is_answered_with_ours(server: ServerProcess, version: bytes) -> None:
    request = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    head, body = await exchange(server.url, request + key + version + b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"sec-websocket-version: 13" in head.lower().splitlines()
    assert json.loads(body)["code"] == "bad_message"


async def test_a_head_that_does_not_end_is_not_kept(server: ServerProcess) -> None:
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        # One byte too many and no more: what the server had not read would reset the connection.
        lines = b"GET / HTTP/1.1\r\n" + (b"a: " + b"b" * 995 + b"\r\n") * (MAX_HEAD // 1000 + 1)
        writer.write(lines[: MAX_HEAD + 1])
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer.lower()


async def test_a_head_within_the_limit_is_taken_on_a_connection_that_goes_on(server: ServerProcess) -> None:
    header = b"a: " + b"b" * 990 + b"\r\n"
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + header * 60
    last = request + b"Connection: close\r\n\r\n"
    head, body = await exchange(server.url, (request + b"\r\n") * 3 + last)
    assert (head + body).count(b"HTTP/1.1 200 ") == 4


async def put(server: ServerProcess, extra: bytes, body: bytes) -> bytes:
    token = json.loads((await exchange(server.url, NEWCOMER))[1])["token"].encode()
    head = b"PUT /v1/reaction?item=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return (
        await exchange(server.url, head + b"Authorization: Bearer " + token + extra + b"\r\n\r\n" + body)
    )[0]


OFFERS = {
    "h2c": b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "several": b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: HTTP/3.0",
    "not-asked": b"\r\nUpgrade: h2c",
}
BODY = b'{"reaction":"like"}'
CHUNKS = b'6\r\n{"reac\r\n' + b"d\r\n" + BODY[6:] + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"\r\nContent-Length: %d" % len(BODY), BODY), (b"\r\nTransfer-Encoding: chunked", CHUNKS)],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("cut", [0, 1, 7], ids=["at-once", "in-two", "in-pieces"])
async def test_an_upgrade_that_is_not_spoken_here_is_ignored_and_costs_no_body(
    server: ServerProcess, offer: bytes, framing: bytes, body: bytes, cut: int
) -> None:
    token = json.loads((await exchange(server.url, NEWCOMER))[1])["token"].encode()
    head = b"PUT /v1/reaction?item=upgrade&item2=%C3%A9 HTTP/1.1\r\nHost: localhost"
    request = head + b"\r\nAuthorization: Bearer " + token + framing + offer + b"\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        pieces = [request + body + last]
        if cut:
            pieces = [request, *(body[at : at + cut] for at in range(0, len(body), cut)), last]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b'"reaction":"like"' in answer
    assert b'{"status":"ok"}' in answer, "the connection goes on"


async def test_a_crowd_of_such_requests_in_one_piece(server: ServerProcess) -> None:
    many = 3000
    offer = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, offer * many + last)
    assert (head + body).count(b"HTTP/1.1 200 ") == many + 1


async def test_a_head_that_offers_an_upgrade_has_the_same_limit(server: ServerProcess) -> None:
    offer = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n"
    head, body = await exchange(server.url, offer + (b"a: " + b"b" * 990 + b"\r\n") * 60 + b"\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b'{"status":"ok"}'


async def test_it_is_no_proxy(server: ServerProcess) -> None:
    head, body = await exchange(server.url, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert json.loads(body)["code"] == "method_not_allowed"


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(server: ServerProcess) -> None:
    head = await put(server, b"\r\nContent-Length: 100000000", b"")
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_breaks_off_is_no_defect(make_server: MakeServer) -> None:
    server = make_server()
    address = urlsplit(server.url)
    token = json.loads((await exchange(server.url, NEWCOMER))[1])["token"].encode()
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = b"PUT /v1/reaction?item=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    writer.write(head + b"Authorization: Bearer " + token + b"\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.to_thread(server.terminate)
    assert "Traceback" not in server.output()
    assert "failed" not in server.output()


async def test_a_query_may_be_longer_than_httptools_takes(server: ServerProcess) -> None:
    query = "&".join(["item=" + "%C3%A9" * 128] * 100)
    assert len(query) > 65536
    request = f"GET /v1/items?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, request.encode())
    assert head.startswith(b"HTTP/1.1 200 ")
    assert [shown["item"] for shown in json.loads(body)["items"]] == ["é" * 128] * 100


UPGRADE = (
    b"GET /ws?item=a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = Frame(Opcode.TEXT, b'{"type":"ping","ref":1}').serialize(mask=True)
PONG = Frame(Opcode.TEXT, b'{"type":"pong","ref":1}').serialize(mask=False)


@pytest.mark.parametrize(
    ("target", "many"), [(b"/livez", 1), (b"/livez", 3), (b"/embed.js", 400)], ids=["one", "some", "large"]
)
async def test_an_upgrade_waits_for_the_answers_before_it(
    server: ServerProcess, target: bytes, many: int
) -> None:
    """However much of them is not sent yet; what comes behind the upgrade is the socket's."""
    address = urlsplit(server.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        writer.write(many * (b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target) + UPGRADE + PING)
        async with asyncio.timeout(30):
            for _ in range(many):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                length = re.search(rb"content-length: (\d+)", head)
                assert length
                await reader.readexactly(int(length[1]))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await reader.readuntil(PONG)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_no_upgrade_follows_the_last_answer(server: ServerProcess) -> None:
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, body = await exchange(server.url, last + UPGRADE)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"status": "ok"}


@pytest.mark.parametrize("trailer", [b"Authorization: Bearer %s", b"Origin: https://evil.example"])
async def test_a_trailer_is_no_part_of_the_head(server: ServerProcess, trailer: bytes) -> None:
    _, body = await exchange(server.url, NEWCOMER)
    token = json.loads(body)["token"].encode()
    head = b"PUT /v1/reaction?item=trailer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n13\r\n" + b'{"reaction":"like"}' + b"\r\n0\r\n"
    has_token = b"%s" not in trailer
    if has_token:
        head += b"Sec-Fetch-Site: cross-site\r\nAuthorization: Bearer " + token + b"\r\n"
    line = trailer if has_token else trailer % token
    answer, _ = await exchange(server.url, head + chunks + line + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 " if has_token else b"HTTP/1.1 401 ")
