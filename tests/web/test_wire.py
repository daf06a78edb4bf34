"""Frames on a real socket that RFC 6455 allows; what it forbids is in tests/hostile."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from tests.client.tokens import visitor_token
from tests.client.websocket import connect, frame
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

PING = b'{"type":"ping","ref":1}'
PONG = (Opcode.TEXT, b'{"type":"pong","ref":1}')


async def test_many_messages_in_one_piece(server: ServerProcess) -> None:
    async with connect(f"{server.ws_url}/ws") as peer:
        await peer.write(b"".join(frame(Opcode.TEXT, PING) for _ in range(500)))
        for _ in range(500):
            assert await peer.next_frame() == PONG


async def test_a_message_before_a_close_in_the_same_piece_takes_effect(server: ServerProcess) -> None:
    """As when a page says its last word and goes."""
    async with httpx.AsyncClient(base_url=server.url) as http, connect(f"{server.ws_url}/ws") as peer:
        token = await visitor_token(http)
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


async def test_other_paths_are_not_sockets(server: ServerProcess) -> None:
    for path in ("/", "/ws/", "/v1/items"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url + path)
        assert refused.value.response.status_code == 404
