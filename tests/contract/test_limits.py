"""Sizes and numbers: the last that is allowed, the first that is not, and what ends a connection."""

from __future__ import annotations

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from tests.client.checked import Client, connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, MAX_MESSAGE, MSGPACK, Server, encode, new_item


def padded(protocol: str, size: int, unit: str = "x") -> bytes:
    """A good ping, ref 5, of exactly so many bytes."""
    width = len(unit.encode())

    def ping(room: int) -> bytes:
        pad = unit * (room // width) + "x" * (room % width)
        return _bytes({"type": "ping", "ref": 5, "pad": pad}, protocol)

    return next(data for rest in range(20, 60) if len(data := ping(size - rest)) == size)


def _bytes(message: object, protocol: str) -> bytes:
    data = encode(message, protocol)
    return data if isinstance(data, bytes) else data.encode()


async def close_code(page: Client, *frames: bytes, text: bool) -> int:
    """Send one message, in one frame or several; the code that the server closes with."""
    try:
        await page.ws.send(frames[0] if len(frames) == 1 else frames, text=text)
    except ConnectionClosed:
        pass
    return await page.closed()


# ------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("unit", ["x", "é", "\U0001f44d"])
async def test_message_of_8_kib(server: Server, protocol: str, unit: str) -> None:
    data = padded(protocol, MAX_MESSAGE, unit)
    async with connect(server, protocol) as page:
        await page.raw(data, ref=5, text=protocol == JSON)
        assert (await page.next(ref=5))["type"] == "pong"
        page._raw_refs.add(5)
        await page.ws.send([data[:5000], data[5000:]], text=protocol == JSON)
        assert (await page.next(ref=5))["type"] == "pong"


@pytest.mark.parametrize("unit", ["x", "é"])
@pytest.mark.parametrize("size", [MAX_MESSAGE + 1, 10_000, 65_536, 300_000])
async def test_message_over_8_kib_is_closed_with_1009(
    server: Server, protocol: str, size: int, unit: str
) -> None:
    async with connect(server, protocol) as page:
        assert await close_code(page, padded(protocol, size, unit), text=protocol == JSON) == 1009
        assert page.frames == []


async def test_fragments_over_8_kib_are_closed_with_1009(server: Server, protocol: str) -> None:
    data = padded(protocol, MAX_MESSAGE + 1)
    async with connect(server, protocol) as page:
        assert await close_code(page, data[:5000], data[5000:], text=protocol == JSON) == 1009


async def test_oversized_reaction_has_no_effect(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    message = {"type": "react", "item": item, "reaction": "like", "pad": "x" * MAX_MESSAGE}
    async with connect(server, protocol, token=alice.token) as page:
        assert await close_code(page, _bytes(message, protocol), text=protocol == JSON) == 1009
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"], ids=repr
)
async def test_text_that_is_not_utf8_is_closed_with_1007(server: Server, protocol: str, bad: bytes) -> None:
    for data in (bad, b'{"type":"ping","x":"' + bad + b'"}'):
        async with connect(server, protocol) as page:
            assert await close_code(page, data, text=True) == 1007


# ------------------------------------------------------------------------------------------- items


async def test_100_items_a_watch(server: Server, protocol: str) -> None:
    mark = new_item()
    items = [f"{mark}{i}" for i in range(101)]
    async with connect(server, protocol) as page:
        await page.refused("watch", "too_many_items", items=items)
        await page.ping()
        assert [f["type"] for f in page.frames] == ["error", "pong"], "a refused watch has no effect"
        assert len((await page.watch(*items[:100])).counts) == 100


@pytest.mark.timeout(60)
async def test_5000_items_a_connection(server: Server, http: Http, alice: Visitor, protocol: str) -> None:
    mark = new_item()
    items = [f"{mark}{i}" for i in range(5010)]
    async with connect(server, protocol) as page:
        refs = [await page.post("watch", items=items[i : i + 100]) for i in range(0, 4900, 100)]
        refs += [await page.post("watch", items=items[4900:4990])]
        for ref in refs:
            assert (await page.answer(ref))["type"] == "watching"
        assert len(page.shown) == 4990
        # All of a message or nothing of it.
        await page.refused("watch", "too_many_items", items=items[4990:5001])
        await page.watch(*items[4990:5000])
        await page.refused("watch", "too_many_items", items=[items[5000]])
        # What is already watched does not count twice; what is let go makes room.
        await page.watch(*items[:100])
        await page.refused("watch", "too_many_items", items=[items[0], items[5000]])
        await page.unwatch(items[7])
        await page.watch(items[5000])
        await page.refused("watch", "too_many_items", items=[items[7]])
        # All of them are live.
        for item in (items[0], items[4999], items[5000]):
            ack = await http.react(item, "like", alice.token)
            await page.next("counts", item=item, version=ack["version"])
        assert items[7] not in page.shown


async def test_item_of_the_url_counts(server: Server) -> None:
    mark = new_item()
    async with connect(server, JSON, f"{mark}url") as page:
        refs = [
            await page.post("watch", items=[f"{mark}{i}" for i in range(first, min(first + 100, 4999))])
            for first in range(0, 4999, 100)
        ]
        for ref in refs:
            assert (await page.answer(ref))["type"] == "watching"
        await page.refused("watch", "too_many_items", items=[f"{mark}x"])
        await page.watch(f"{mark}url")


# ----------------------------------------------------------------------------------- ten in a row


def bad_messages(protocol: str) -> list[bytes]:
    """Ten, none like the other."""
    broken = (
        [b"", b"5", b"{", b"[]", b'"x"'] if protocol == JSON else [b"", b"\xc1", b"\x05", b"\x90", b"\xa1x"]
    )
    messages = [
        {},
        {"type": 5},
        {"type": "dance"},
        {"type": "ping", "ref": -1},
        {"type": "watch", "items": 5},
    ]
    return broken + [_bytes(message, protocol) for message in messages]


async def test_ten_bad_messages_in_a_row_are_closed_with_4500(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for data in bad_messages(protocol):
            await page.raw(data, text=protocol == JSON)
        assert await page.closed() == 4500
        assert len(page.frames) in (9, 10)
        assert {f["code"] for f in page.frames} == {"bad_message"}


async def test_ten_with_waiting_in_between(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for data in bad_messages(protocol)[:9]:
            await page.raw(data, text=protocol == JSON)
            assert (await page.next("error"))["code"] == "bad_message"
        await page.raw(bad_messages(protocol)[9], text=protocol == JSON)
        assert await page.closed() == 4500


async def test_a_good_one_ends_the_row(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for _ in range(4):
            for data in bad_messages(protocol)[1:]:
                await page.raw(data, text=protocol == JSON)
            await page.ping()
        await page.until(lambda: sum(f["type"] == "error" for f in page.frames) == 36)


async def test_wrong_frame_kinds_count(server: Server, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for _ in range(10):
            await page.raw(msgpack.packb("x") if protocol == JSON else b"x", text=protocol == MSGPACK)
        assert await page.closed() == 4500
