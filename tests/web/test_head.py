"""Request heads that must be refused, and the forms that must not: RFC 9112 on the wire."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from tallycast.transport.http.head import BadHead, check_head, origin_form

from tests.support.process import ServerProcess
from tests.web.test_http import exchange

HOST = b"Host: tally.example\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + KEY
CLOSE = b"Connection: close\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + CLOSE
PUT = b"PUT /v1/reaction?item=a HTTP/1.1\r\n" + HOST + CLOSE

REFUSED = {
    "no Host": (GET, b"", 400),
    "two Hosts": (GET + HOST + HOST, b"", 400),
    "two Hosts of HTTP/1.0": (b"GET /livez HTTP/1.0\r\n" + HOST + HOST, b"", 400),
    "a Host with a space": (GET + b"Host: a b\r\n", b"", 400),
    "a Host with a path": (GET + b"Host: a/b\r\n", b"", 400),
    "a Host with a user": (GET + b"Host: me@a\r\n", b"", 400),
    "a Host that is a list": (GET + b"Host: a, b:\r\n", b"", 400),
    "a Host beyond ASCII": (GET + "Host: é\r\n".encode(), b"", 400),
    "a port that is none": (GET + b"Host: a:b\r\n", b"", 400),
    "a fragment": (b"GET /livez#a HTTP/1.1\r\n" + HOST, b"", 400),
    "a fragment of a socket's": (b"GET /ws?item=a#b HTTP/1.1\r\n" + HOST + UPGRADE, b"", 400),
    "a user in the target": (b"GET http://me@localhost/livez HTTP/1.1\r\n" + HOST, b"", 400),
    "an upgrade without Host": (b"GET /ws HTTP/1.1\r\n" + UPGRADE, b"", 400),
    "an upgrade with a length": (
        b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 5\r\n",
        b"hello",
        400,
    ),
    "an upgrade with chunks": (
        b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        400,
    ),
    "an upgrade with two keys": (b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE + KEY, b"", 400),
    "two tokens": (PUT + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", b"", 400),
    "two lengths": (PUT + b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}", 400),
    "a list of lengths": (PUT + b"Content-Length: 2, 2\r\n", b"{}", 400),
    "a length and chunks": (PUT + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", 400),
    "chunks of HTTP/1.0": (
        b"PUT /v1/reaction?item=a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        400,
    ),
    "another coding": (PUT + b"Transfer-Encoding: gzip\r\n", b"{}", 501),
    "a chunk without a size": (PUT + b"Transfer-Encoding: chunked\r\n", b"zz\r\n", 400),
    "HTTP/0.9": (b"GET /livez\r\n", b"", 505),
    "HTTP/2.0": (b"GET /livez HTTP/2.0\r\n" + HOST, b"", 505),
}


@pytest.mark.parametrize(("head", "body", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_head_that_is_refused(server: ServerProcess, head: bytes, body: bytes, status: int) -> None:
    answer, said = await exchange(server.url, head + b"\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.lower().count(b"connection: close") == 1
    problem = json.loads(said)
    assert (problem["status"], problem["code"]) == (status, "bad_message")


TAKEN = {
    "a name": GET + b"Host: tally.example\r\n",
    "a name with a port": GET + b"Host: tally.example:8443\r\n",
    "an IPv4 address": GET + b"Host: 127.0.0.1:8000\r\n",
    "an IPv6 address": GET + b"Host: [::1]:8000\r\n",
    "nothing, where there is no authority": GET + b"Host:\r\n",
    "an absolute target": b"GET http://tally.example/livez HTTP/1.1\r\n" + CLOSE + HOST,
    "HTTP/1.0 without Host": b"GET /livez HTTP/1.0\r\n",
    "HTTP/1.0 that wants to keep the connection": b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n",
}


@pytest.mark.parametrize("head", TAKEN.values(), ids=TAKEN)
async def test_a_head_that_is_taken(server: ServerProcess, head: bytes) -> None:
    answer, said = await exchange(server.url, head + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.lower().count(b"connection:") == 1
    assert said == b'{"status":"ok"}'


@pytest.mark.parametrize("target", [b"/ws", b"http://tally.example/ws"])
async def test_an_upgrade_may_say_that_it_has_no_body(server: ServerProcess, target: bytes) -> None:
    head = b"GET " + target + b" HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 0\r\n\r\n"
    assert (await first_line(server, head)).startswith(b"HTTP/1.1 101 ")


async def test_http_1_0_knows_no_upgrade(server: ServerProcess) -> None:
    answer, _ = await exchange(server.url, b"GET /ws HTTP/1.0\r\n" + UPGRADE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 426 ")


SOMETHING = b"GET /v1/items?item=a HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize("second", [b"GET /ws HTTP/1.1\r\n" + HOST + UPGRADE, b"nonsense\r\n", GET])
async def test_nothing_is_answered_before_what_was_asked_earlier(
    server: ServerProcess, second: bytes
) -> None:
    """The answer to the second request would be taken for the first one's."""
    assert await first_line(server, SOMETHING + second + b"\r\n") in (b"", b"HTTP/1.1 200 OK\r\n")


async def first_line(server: ServerProcess, data: bytes) -> bytes:
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            return await reader.readline()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def test_the_repeated_field_is_named() -> None:
    with pytest.raises(BadHead, match="repeated header Sec-Fetch-Site"):
        check_head("1.1", [(b"host", b"a"), *[(b"sec-fetch-site", b"none")] * 2], upgrade=False)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/items?item=http://a.example/b", b"/v1/items?item=http://a.example/b"),
        (b"HTTP://a.example:80/v1/items?item=a", b"/v1/items?item=a"),
        (b"https://a.example?item=a", b"/?item=a"),
        (b"http://a.example", b"/"),
        (b"*", b"*"),
    ],
)
def test_a_target_in_origin_form(target: bytes, expected: bytes) -> None:
    assert origin_form(target) == expected
