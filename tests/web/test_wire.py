"""Frames on a real socket to a real server: RFC 6455 as it reads, and as it is broken."""

import asyncio
import json

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from server.web.inbound import MAX_FRAGMENTS
from tests.support.process import ServerProcess
from tests.support.waiting import eventually
from tests.web.raw import raw

PING = b'{"type":"ping","ref":1}'
PONG = (Opcode.TEXT, b'{"type":"pong","ref":1}')


async def test_a_message_in_pieces_with_pings_between(server: ServerProcess) -> None:
    async with raw(server.url) as peer:
        await peer.frame(Opcode.TEXT, PING[:5], fin=False)
        await peer.frame(Opcode.PING, b"between")
        await peer.frame(Opcode.CONT, PING[5:9], fin=False)
        await peer.frame(Opcode.CONT, b"", fin=False)
        await peer.frame(Opcode.CONT, PING[9:])
        assert await peer.receive() == (Opcode.PONG, b"between")
        assert await peer.receive() == PONG


async def test_bytes_one_at_a_time(server: ServerProcess) -> None:
    async with raw(server.url) as peer:
        for byte in Frame(Opcode.TEXT, PING).serialize(mask=True):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await peer.receive() == PONG


async def test_many_messages_in_one_piece(server: ServerProcess) -> None:
    async with raw(server.url) as peer:
        await peer.send(b"".join(Frame(Opcode.TEXT, PING).serialize(mask=True) for _ in range(500)))
        for _ in range(500):
            assert await peer.receive() == PONG


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0"])
async def test_a_close_is_answered_and_tcp_ends(server: ServerProcess, payload: bytes) -> None:
    async with raw(server.url) as peer:
        await peer.frame(Opcode.CLOSE, payload)
        assert await peer.receive() == (Opcode.CLOSE, payload)
        assert await peer.closed_with() is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, PING).serialize(mask=False), 1002),
        (b"\xc1\x80abcd", 1002),
        (b"\x83\x80abcd", 1002),
        (b"\x8b\x80abcd", 1002),
        (b"\x09\x80abcd", 1002),
        (b"\x89\xfe\x00\x7eabcd" + bytes(126), 1002),
        (b"\x80\x80abcd", 1002),
        (b"\x01\x80abcd\x81\x80abcd", 1002),
        (Frame(Opcode.CLOSE, b"\x03").serialize(mask=True), 1002),
        (Frame(Opcode.CLOSE, b"\x03\xed").serialize(mask=True), 1002),
        (Frame(Opcode.CLOSE, b"\x03\xe8\xff").serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b'"\xed\xa0\x80"').serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b" " * 8193).serialize(mask=True), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", 1009),
        (
            Frame(Opcode.TEXT, b" " * 8000, fin=False).serialize(mask=True)
            + Frame(Opcode.CONT, b" " * 193).serialize(mask=True),
            1009,
        ),
        (
            Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
            + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * MAX_FRAGMENTS,
            4500,
        ),
    ],
    # Names, because the masks are drawn by chance: every process of a run must call a test the same.
    ids=[
        "unmasked",
        "reserved bit",
        "reserved data opcode",
        "reserved control opcode",
        "control in fragments",
        "long control",
        "continuation of nothing",
        "message inside a message",
        "close of one byte",
        "close with a code of nobody's",
        "close with no UTF-8",
        "no UTF-8",
        "a lone surrogate",
        "too long",
        "too long by its header",
        "too long in fragments",
        "too many fragments",
    ],
)
async def test_broken_frames_end_it_with_a_code(server: ServerProcess, data: bytes, code: int) -> None:
    async with raw(server.url) as peer:
        await peer.send(data)
        assert await peer.closed_with() == code


async def test_a_message_before_a_close_in_the_same_piece_takes_effect(server: ServerProcess) -> None:
    """As when a page says its last word and goes."""
    async with httpx.AsyncClient(base_url=server.url) as http, raw(server.url) as peer:
        token = (await http.post("/v1/visitors")).json()["token"]
        words = [{"type": "auth", "token": token}, {"type": "react", "item": "last", "reaction": "like"}]
        data = b"".join(Frame(Opcode.TEXT, json.dumps(word).encode()).serialize(mask=True) for word in words)
        await peer.send(data + Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
        assert await peer.closed_with() == 1001

        async def counted() -> bool:
            return bool((await http.get("/v1/items?item=last")).json()["items"][0]["counts"]["like"] == 1)

        await eventually(counted)


@pytest.mark.parametrize("bad", [b"{" * 10, b"\xff"])
async def test_a_close_behind_messages_that_end_it_is_answered_all_the_same(
    server: ServerProcess, bad: bytes
) -> None:
    """All in one piece: the parser has come to the close before the messages are looked at."""
    data = b"".join(Frame(Opcode.TEXT, bytes([byte])).serialize(mask=True) for byte in bad)
    async with raw(server.url) as peer:
        await peer.send(data + Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
        assert await peer.closed_with() == 1001


async def test_what_comes_after_a_broken_frame_is_not_read(server: ServerProcess) -> None:
    async with raw(server.url) as peer:
        await peer.send(b"\xc1\x80abcd" + Frame(Opcode.TEXT, PING).serialize(mask=True))
        opcode, _ = await peer.receive()
        assert opcode == Opcode.CLOSE


async def test_a_message_of_eight_kibibytes_fits(server: ServerProcess) -> None:
    async with raw(server.url) as peer:
        await peer.frame(Opcode.TEXT, PING + b" " * (8192 - len(PING)))
        assert await peer.receive() == PONG


async def test_other_paths_are_not_sockets(server: ServerProcess) -> None:
    for path in ("/", "/ws/", "/v1/items"):
        async with raw(server.url, path) as peer:
            assert peer.head.startswith(b"HTTP/1.1 404")


async def test_a_reader_that_comes_back_gets_the_latest_and_not_the_history(server: ServerProcess) -> None:
    item, people = "slow", 40
    async with (
        httpx.AsyncClient(base_url=server.url) as http,
        raw(server.url, f"/ws?item={item}", receive_buffer=4096) as slow,
        connect(f"{server.ws_url}/ws") as busy,
    ):
        await slow.receive()
        token = (await http.post("/v1/visitors")).json()["token"]
        await busy.send(json.dumps({"type": "auth", "token": token}))
        await busy.recv()
        others = [f"{item}{i}{'x' * 200}" for i in range(people)]
        await slow.frame(Opcode.TEXT, json.dumps({"type": "watch", "items": others[:30]}).encode())
        rounds = 60
        for turn in range(rounds):
            for other in [item, *others[:30]]:
                reaction = ("like", "dislike")[turn % 2]
                await busy.send(json.dumps({"type": "react", "item": other, "reaction": reaction}))
        acks = [json.loads(await busy.recv()) for _ in range(rounds * 31)]
        last = {ack["item"]: ack["version"] for ack in acks}
        shown: dict[str, int] = {}
        received = 0
        while any(shown.get(name) != version for name, version in last.items()):
            frame = json.loads((await slow.receive())[1])
            if frame["type"] == "counts":
                assert frame["version"] >= shown.get(frame["item"], 0)
                shown[frame["item"]] = frame["version"]
                received += 1
        assert received < len(acks), "what was overtaken is not sent"
