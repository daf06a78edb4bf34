"""Frames on a real socket to a real server: RFC 6455 as it reads, and as it is broken."""

import asyncio
import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from server.web.inbound import MAX_FRAGMENTS
from tests.client.websocket import connect, frame
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

PING = b'{"type":"ping","ref":1}'
PONG = (Opcode.TEXT, b'{"type":"pong","ref":1}')


async def test_a_message_in_pieces_with_pings_between(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(frame(Opcode.TEXT, PING[:5], fin=False))
        await peer.write(frame(Opcode.PING, b"between"))
        await peer.write(frame(Opcode.CONT, PING[5:9], fin=False))
        await peer.write(frame(Opcode.CONT, b"", fin=False))
        await peer.write(frame(Opcode.CONT, PING[9:]))
        assert await peer.next_frame() == (Opcode.PONG, b"between")
        assert await peer.next_frame() == PONG


async def test_bytes_one_at_a_time(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        for byte in frame(Opcode.TEXT, PING):
            await peer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await peer.next_frame() == PONG


async def test_many_messages_in_one_piece(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(b"".join(frame(Opcode.TEXT, PING) for _ in range(500)))
        for _ in range(500):
            assert await peer.next_frame() == PONG


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0"])
async def test_a_close_is_answered_and_tcp_ends(server: ServerProcess, payload: bytes) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(frame(Opcode.CLOSE, payload))
        assert await peer.next_frame() == (Opcode.CLOSE, payload)
        await peer.wait_closed()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, PING, mask=False), 1002),
        (b"\xc1\x80abcd", 1002),
        (b"\x83\x80abcd", 1002),
        (b"\x8b\x80abcd", 1002),
        (b"\x09\x80abcd", 1002),
        (b"\x89\xfe\x00\x7eabcd" + bytes(126), 1002),
        (b"\x80\x80abcd", 1002),
        (b"\x01\x80abcd\x81\x80abcd", 1002),
        (frame(Opcode.CLOSE, b"\x03"), 1002),
        (frame(Opcode.CLOSE, b"\x03\xed"), 1002),
        (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(Opcode.TEXT, b"\xff"), 1007),
        (frame(Opcode.TEXT, b'"\xed\xa0\x80"'), 1007),
        (frame(Opcode.TEXT, b" " * 8193), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", 1009),
        (
            frame(Opcode.TEXT, b" " * 8000, fin=False) + frame(Opcode.CONT, b" " * 193),
            1009,
        ),
        (
            frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONT, b"", fin=False) * MAX_FRAGMENTS,
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
        "close with a reserved code",
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
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(data)
        assert await peer.closed() == code


async def test_a_message_before_a_close_in_the_same_piece_takes_effect(server: ServerProcess) -> None:
    """As when a page says its last word and goes."""
    async with httpx.AsyncClient(base_url=server.url) as http, connect(f"{server.ws_url}/ws") as peer:
        token = (await http.post("/v1/visitors")).json()["token"]
        words = [{"type": "auth", "token": token}, {"type": "react", "item": "last", "reaction": "like"}]
        data = b"".join(frame(Opcode.TEXT, json.dumps(word).encode()) for word in words)
        await peer.write(data + frame(Opcode.CLOSE, b"\x03\xe9"))
        assert await peer.closed() == 1001

        async def counted() -> bool:
            return bool((await http.get("/v1/items?item=last")).json()["items"][0]["counts"]["like"] == 1)

        await eventually(counted)


@pytest.mark.parametrize("bad", [b"{" * 10, b"\xff"])
async def test_a_close_behind_messages_that_end_it_is_answered_all_the_same(
    server: ServerProcess, bad: bytes
) -> None:
    """All in one piece: the parser has come to the close before the messages are looked at."""
    data = b"".join(frame(Opcode.TEXT, bytes([byte])) for byte in bad)
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(data + frame(Opcode.CLOSE, b"\x03\xe9"))
        assert await peer.closed() == 1001


async def test_what_comes_after_a_broken_frame_is_not_read(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(b"\xc1\x80abcd" + frame(Opcode.TEXT, PING))
        opcode, _ = await peer.next_frame()
        assert opcode == Opcode.CLOSE


async def test_a_message_of_eight_kibibytes_fits(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(frame(Opcode.TEXT, PING + b" " * (8192 - len(PING))))
        assert await peer.next_frame() == PONG


async def test_other_paths_are_not_sockets(server: ServerProcess) -> None:
    for path in ("/", "/ws/", "/v1/items"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url + path)
        assert refused.value.response.status_code == 404


async def test_a_reader_that_comes_back_gets_the_latest_and_not_the_history(server: ServerProcess) -> None:
    item, people = "slow", 40
    async with (
        httpx.AsyncClient(base_url=server.url) as http,
        connect(f"{server.ws_url}/ws?item={item}", receive_buffer=4096) as slow,
        connect(f"{server.ws_url}/ws") as busy,
    ):
        await slow.next("counts")
        slow.pause()
        token = (await http.post("/v1/visitors")).json()["token"]
        await busy.ask("auth", token=token)
        others = [f"{item}{i}{'x' * 200}" for i in range(people)]
        await slow.send(json.dumps({"type": "watch", "items": others[:30]}))
        rounds = 60
        for turn in range(rounds):
            for other in [item, *others[:30]]:
                reaction = ("like", "dislike")[turn % 2]
                await busy.send(json.dumps({"type": "react", "item": other, "reaction": reaction}))
        acks = [json.loads(await busy.recv()) for _ in range(rounds * 31)]
        last = {ack["item"]: ack["version"] for ack in acks}
        shown: dict[str, int] = {}
        received = 0
        slow.resume()
        while any(shown.get(name) != version for name, version in last.items()):
            update = await slow.next()
            if update["type"] == "counts":
                assert update["version"] >= shown.get(update["item"], 0)
                shown[update["item"]] = update["version"]
                received += 1
        assert received < len(acks), "what was overtaken is not sent"
