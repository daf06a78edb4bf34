"""Key sets: fetched from a real server, shared, kept, and not asked for too often."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from tallycast.access import keysets
from tallycast.access.keysets import FRESH, INTERVAL, MAX_KEYS, MAX_SIZE, STALE, KeySets, download, read
from tallycast.domain.tokens import Claims, KeySet

from tests.support.signing import jwk, key_set, private_key

ES256 = KeySet("ES256", "https://blog.example/keys")
KEYS = key_set(jwk(private_key("ES256"), "ES256", "one"))


class Publisher:
    """Answers a fetch when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.answer: bytes | Exception = KEYS
        self.hold = asyncio.Event()
        self.hold.set()
        self.sets = KeySets(self.get, lambda: self.now)

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def refresh(self, *key_sets: KeySet) -> bool:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.sets.refresh(key_sets or (ES256,), future.set_result)
        return await future


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    yield publisher
    await publisher.sets.close()


async def test_fetched_once_for_all_requests_that_wait(publisher: Publisher) -> None:
    assert publisher.sets.known(ES256) == ()
    publisher.hold.clear()
    waiting = [asyncio.ensure_future(publisher.refresh()) for _ in range(50)]
    await asyncio.sleep(0)
    publisher.hold.set()
    assert all(await asyncio.gather(*waiting))
    assert len(publisher.asked) == 1
    assert [key.id for key in publisher.sets.known(ES256)] == ["one"]


async def test_one_set_for_several_audiences_is_fetched_once(publisher: Publisher) -> None:
    other = replace(ES256, claims=Claims("https://api.example"))
    waiting = asyncio.get_running_loop().create_future()
    publisher.sets.refresh([ES256, other], waiting.set_result)
    assert await waiting
    assert len(publisher.asked) == 1
    assert publisher.sets.known(other) == publisher.sets.known(ES256) != ()


async def test_a_flood_of_unknown_keys_fetches_once_in_a_while(publisher: Publisher) -> None:
    for _ in range(1000):
        assert await publisher.refresh()
        publisher.now += 0.1
    assert len(publisher.asked) == 1 + int(99.9 // INTERVAL)


async def test_failures_are_not_repeated_at_once_either(publisher: Publisher) -> None:
    publisher.answer = OSError("gone")
    for _ in range(100):
        assert not await publisher.refresh()
    assert len(publisher.asked) == 1
    publisher.now += INTERVAL
    publisher.answer = KEYS
    assert await publisher.refresh()


async def test_old_keys_are_fetched_again_while_they_hold_and_then_do_not(publisher: Publisher) -> None:
    await publisher.refresh()
    publisher.answer = OSError("gone")
    publisher.now += FRESH + 1
    assert publisher.sets.known(ES256)
    assert not publisher.asked[1:]
    await asyncio.sleep(0)
    assert len(publisher.asked) == 2
    assert await publisher.refresh(), "they still hold"
    publisher.now += STALE
    assert publisher.sets.known(ES256) == ()
    assert not await publisher.refresh()


async def test_several_sets_are_waited_for(publisher: Publisher) -> None:
    other = KeySet("RS256", "https://blog.example/other")
    assert not await publisher.refresh(ES256, other), "there is no key for RS256 in it"
    assert publisher.sets.known(ES256)


async def test_one_that_does_not_answer_is_given_up(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keysets, "TIMEOUT", 0.01)
    publisher.hold.clear()
    assert not await publisher.refresh()


def test_reading() -> None:
    """Sets hold keys of other kinds and for other uses."""
    listed = [
        jwk(private_key("ES256"), "ES256", "good"),
        jwk(private_key("ES256", 1), "ES256", None),
        jwk(private_key("RS256"), "RS256", "other kind"),
        jwk(private_key("ES256", 2), "ES256", "encryption") | {"use": "enc"},
        jwk(private_key("ES256", 2), "ES256", "other algorithm") | {"alg": "ES384"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": [], "kid": "broken"},
        {},
        7,
    ]
    assert [key.id for key in read(key_set(*listed), "ES256")] == ["good", None]  # type: ignore[arg-type]
    assert [key.id for key in read(key_set(*listed), "RS256")] == ["other kind"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":[]}', b"\xff", b'{"keys":' + b"[" * 50_000, b"null"]
)
def test_what_is_not_a_key_set(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a key set|no key for"):
        read(data, "ES256")
    with pytest.raises(ValueError, match="at most"):
        read(key_set(*[jwk(private_key("ES256"), "ES256", "x")] * (MAX_KEYS + 1)), "ES256")


class Site:
    """A web server that says one thing to everybody."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()


async def fetched(answer: bytes) -> tuple[bytes, bytes]:
    """What is made of an answer, and the request for it."""
    site = Site(answer)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await download(f"http://127.0.0.1:{port}/keys"), site.received


def answered(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_downloading() -> None:
    data, request = await fetched(answered(KEYS))
    assert data == KEYS
    assert b"accept-encoding: identity" in request.lower()
    assert (await fetched(answered(b"x" * MAX_SIZE)))[0] == b"x" * MAX_SIZE


@pytest.mark.parametrize(
    "answer",
    [
        answered(b"x" * (MAX_SIZE + 1)),
        answered(b"", "302 Found", "Location: http://127.0.0.1:1/"),
        answered(b"no", "404 Not Found"),
        b"garbage\r\n\r\n",
        b"",
    ],
    ids=["too much", "redirect", "missing", "garbage", "nothing"],
)
async def test_what_is_not_taken(answer: bytes) -> None:
    with pytest.raises((ValueError, httpx.HTTPError)):
        await fetched(answer)


async def test_nothing_is_unpacked() -> None:
    packed = gzip.compress(b" " * 10_000_000)
    data, _ = await fetched(answered(packed, "200 OK", "Content-Encoding: gzip"))
    assert data == packed
