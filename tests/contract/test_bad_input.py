"""What must be refused: the code the contract names, no effect, and the connection goes on.

After each bad message a good one is sent, so that they are never ten in a row.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.client.checked import Client, connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, MAX_INT, MSGPACK, Frame, Server, encode, new_item

PING = {"type": "ping"}


async def refuses(
    page: Client, data: str | bytes, *codes: str, ref: int | None = None, text: bool | None = None
) -> None:
    """These bytes are answered by one error, and the connection goes on."""
    await page.raw(data, ref=ref, text=text)
    error = await page.next("error", **({} if ref is None else {"ref": ref}))
    assert error["code"] in (codes or ("bad_message",)), (data, error)
    await page.ping()


async def survives(page: Client, data: str | bytes, ref: int | None = None) -> Frame:
    """These bytes may be read as a good ping or refused: one answer, and the connection goes on."""
    before = len(page.frames)
    await page.raw(data, ref=ref)
    await page.until(lambda: [f for f in page.frames[before:] if f["type"] in ("pong", "error")])
    answer = page.frames[before]
    assert answer["type"] == "pong" or answer["code"] == "bad_message"
    page._raw_refs.clear()
    await page.ping()
    return answer


# ------------------------------------------------------------------------------------------- items

BAD_ITEMS = {
    "empty": "",
    "nul": "a\x00b",
    "tab": "a\tb",
    "newline": "a\n",
    "unit-separator": "\x1f",
    "delete": "\x7f",
    "c1-first": "\x80",
    "next-line": "a\x85",
    "c1-last": "\x9f",
    "257-bytes": "x" * 257,
    "257-bytes-in-129-characters": "é" * 128 + "x",
    "260-bytes-in-65-characters": "\U0001f44d" * 65,
    "5-kB": "x" * 5000,
}


@pytest.mark.parametrize("bad", BAD_ITEMS.values(), ids=BAD_ITEMS)
async def test_bad_items(server: Server, alice: Visitor, protocol: str, bad: str) -> None:
    good = new_item()
    async with connect(server, protocol, token=alice.token) as page:
        for reaction in ("like", None):
            await page.refused("react", "bad_item", item=bad, reaction=reaction)
        await page.refused("watch", "bad_item", items=[bad])
        await page.refused("watch", "bad_item", items=[good, bad, good])
        unwatched = await page.ask("unwatch", items=[bad])
        assert unwatched["type"] == "unwatched" or unwatched["code"] == "bad_item"
        assert [f for f in page.frames if f["type"] == "counts"] == [], "a refused watch has no effect"
        await page.ping()


@pytest.mark.parametrize("bad", [None, 5, 1.5, True, [], ["a"], {}, {"a": "b"}], ids=repr)
async def test_items_that_are_no_strings(server: Server, alice: Visitor, protocol: str, bad: object) -> None:
    async with connect(server, protocol, token=alice.token) as page:
        for kind, fields in (
            ("react", {"item": bad, "reaction": "like"}),
            ("watch", {"items": [bad]}),
            ("watch", {"items": [new_item(), bad]}),
            ("unwatch", {"items": [bad]}),
        ):
            ref = await page.post("ping")
            await page.answer(ref)
            await page.send({"type": kind, **fields, "ref": 77}, ref=77)
            assert (await page.next("error", ref=77))["code"] in ("bad_item", "bad_message")
        assert [f for f in page.frames if f["type"] == "counts"] == []


@pytest.mark.parametrize(
    "bad", ["\\ud800", "a\\udfff", "\\udc00\\ud800", "\\ud800\\ud800\\udc00", "\\uD83Dx"]
)
async def test_lone_surrogates_in_json(server: Server, alice: Visitor, bad: str) -> None:
    async with connect(server, token=alice.token) as page:
        for text in (
            f'{{"type":"react","item":"{bad}","reaction":"like","ref":70}}',
            f'{{"type":"watch","items":["{bad}"],"ref":70}}',
        ):
            await refuses(page, text, "bad_item", ref=70)


@pytest.mark.parametrize(
    "bad", [b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80"], ids=repr
)
async def test_invalid_utf8_in_messagepack(server: Server, alice: Visitor, bad: bytes) -> None:
    text = bytes([0xA0 | len(bad)]) + bad
    async with connect(server, MSGPACK, token=alice.token) as page:
        head = b"\xa3ref\x46"
        await refuses(
            page,
            b"\x84" + head + b"\xa4type\xa5react\xa8reaction\xa4like\xa4item" + text,
            "bad_item",
            ref=0x46,
        )
        await refuses(page, b"\x83" + head + b"\xa4type\xa5watch\xa5items\x91" + text, "bad_item", ref=0x46)
        # Anywhere else it is a broken message.
        await refuses(page, b"\x81\xa4type" + text)
        await refuses(
            page, b"\x83\xa4type\xa5react\xa4item\xa1a\xa8reaction" + text, "bad_message", "bad_reaction"
        )
        await refuses(page, b"\x82\xa4type\xa4auth\xa5token" + text, "bad_message", "unauthorized")


async def test_binary_is_not_a_string(server: Server, alice: Visitor) -> None:
    """MessagePack: strings are str."""
    item = new_item()
    async with connect(server, MSGPACK, item, token=alice.token) as page:
        for message, codes in (
            ({"type": "react", "item": item.encode(), "reaction": "like"}, ("bad_item", "bad_message")),
            ({"type": "react", "item": item, "reaction": b"like"}, ("bad_reaction", "bad_message")),
            ({"type": "watch", "items": [item.encode()]}, ("bad_item", "bad_message")),
            ({"type": b"ping"}, ("bad_message",)),
            ({b"type": "ping"}, ("bad_message",)),
            ({"type": "auth", "token": alice.token.encode()}, ("bad_message", "unauthorized")),
        ):
            await refuses(page, msgpack.packb(message), *codes)


# --------------------------------------------------------------------------------- kinds and types


@pytest.mark.parametrize(
    "kind", ["love", "Like", "LIKE", "", " like", "like ", "likes", "l\u0131ke", "\x00", "x" * 1000]
)
async def test_unknown_kinds(server: Server, http: Http, alice: Visitor, protocol: str, kind: str) -> None:
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        ack = await page.react(item, "dislike")
        error = await page.refused("react", "bad_reaction", item=item, reaction=kind)
        assert error["item"] == item
        assert (await http.item(item, alice.token))["reaction"] == "dislike"
        assert (await page.react(item, "dislike"))["version"] == ack["version"]


@pytest.mark.parametrize("kind", [0, 1, True, False, 1.5, [], ["like"], {}], ids=repr)
async def test_kinds_that_are_no_strings(server: Server, alice: Visitor, protocol: str, kind: object) -> None:
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        ack = await page.react(item, "dislike")
        await page.refused("react", "bad_reaction", "bad_message", item=item, reaction=kind)
        assert (await page.react(item, "dislike"))["version"] == ack["version"]


@pytest.mark.parametrize(
    "kind",
    [
        "dance",
        "",
        "PING",
        "ping ",
        "ack",
        "counts",
        "beat",
        "error",
        "ready",
        "__class__",
        "\x00",
        "x" * 1000,
    ],
)
async def test_unknown_types(server: Server, protocol: str, kind: str) -> None:
    async with connect(server, protocol) as page:
        await page.refused(kind, "bad_message")
        await page.ping()


@pytest.mark.parametrize("kind", [None, 5, True, [], ["ping"], {}, {"type": "ping"}], ids=repr)
async def test_types_that_are_no_strings(server: Server, protocol: str, kind: object) -> None:
    async with connect(server, protocol) as page:
        await page.send({"type": kind, "ref": 5}, ref=5)
        assert (await page.next("error", ref=5))["code"] == "bad_message"
        await page.ping()


async def test_unknown_fields_are_ignored(server: Server, alice: Visitor, protocol: str) -> None:
    item = new_item()
    extra: Frame = {"x": None, "y": {"z": [1, -2.5, True, "é", {}]}, "Type": "auth", "": 0, "retry": False}
    async with connect(server, protocol) as page:
        await page.get("ping", **extra)
        await page.get("auth", token=alice.token, **extra)
        await page.get("watch", items=[item], **extra)
        await page.get("react", item=item, reaction="like", **extra)
        await page.get("unwatch", items=[item], **extra)


async def test_missing_fields(server: Server, http: Http, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        await page.react(item, "like")
        await page.refused("react", "bad_message", "bad_reaction", item=item)  # above all, it does not clear
        assert (await http.item(item, alice.token))["reaction"] == "like"
        await page.refused("react", "bad_message", "bad_item", reaction="dislike")
        await page.ping()
        await page.refused("react", "bad_message", "bad_item", "bad_reaction")
        await page.refused("watch", "bad_message")
        await page.ping()
        await page.refused("watch", "bad_message", since={})
        await page.refused("unwatch", "bad_message")
        await page.ping()
        await page.refused("auth", "bad_message", "unauthorized")
        await page.send({"ref": 99}, ref=99)
        assert (await page.next("error", ref=99))["code"] == "bad_message"
        await page.send({})
        assert (await page.next("error"))["code"] == "bad_message"
        await page.ping()


@pytest.mark.parametrize("items", [None, "abc", 5, True, {"a": 1}], ids=repr)
async def test_items_that_are_no_list(server: Server, protocol: str, items: object) -> None:
    async with connect(server, protocol) as page:
        for kind in ("watch", "unwatch"):
            await page.send({"type": kind, "items": items, "ref": 5}, ref=5)
            assert (await page.next("error", ref=5))["code"] == "bad_message"
            await page.ping()


# --------------------------------------------------------------------------------- refs and `since`


@pytest.mark.parametrize(
    "ref", [-1, MAX_INT + 1, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, "1", "", True, [], {}], ids=repr
)
async def test_bad_refs(server: Server, http: Http, alice: Visitor, protocol: str, ref: object) -> None:
    item = new_item()
    async with connect(server, protocol, token=alice.token) as page:
        for message in (
            PING,
            {"type": "react", "item": item, "reaction": "like"},
            {"type": "watch", "items": [item]},
        ):
            await refuses(page, encode({**message, "ref": ref}, protocol))
        assert [f for f in page.frames if f["type"] == "counts"] == []
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize("ref", [None, 5.0], ids=repr)
async def test_refs_one_may_argue_about(server: Server, protocol: str, ref: object) -> None:
    async with connect(server, protocol) as page:
        await survives(page, encode({**PING, "ref": ref}, protocol), ref=5)


@pytest.mark.parametrize("since", [[], "x", 5, True, ["a"]], ids=repr)
async def test_since_that_is_no_object(server: Server, protocol: str, since: object) -> None:
    async with connect(server, protocol) as page:
        await refuses(page, encode({"type": "watch", "items": [new_item()], "since": since}, protocol))
        assert [f for f in page.frames if f["type"] == "counts"] == []


@pytest.mark.parametrize("version", [1.5, "5", "", True, [], {}], ids=repr)
async def test_since_that_is_no_integer(server: Server, protocol: str, version: object) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        await refuses(page, encode({"type": "watch", "items": [item], "since": {item: version}}, protocol))
        assert [f for f in page.frames if f["type"] == "counts"] == []


@pytest.mark.parametrize("version", [None, -1, -(2**63), MAX_INT + 1, 2**64 - 1, 0.0], ids=repr)
async def test_since_one_may_argue_about(server: Server, protocol: str, version: object) -> None:
    item = new_item()
    async with connect(server, protocol) as page:
        await page.send({"type": "watch", "items": [item], "since": {item: version}, "ref": 5}, ref=5)
        frame = await page.next(ref=5)
        assert frame["type"] == "watching" or frame["code"] == "bad_message"
        await page.ping()
        page.watched.add(item)
        assert (await page.watch(item)).counts[item]["version"] == 0


# --------------------------------------------------------------------------------- broken messages

BROKEN_JSON = [
    "",
    " ",
    "{",
    "}",
    '{"type":"ping"',
    '{"type":"ping"}}',
    '{"type":"ping"} {"type":"ping"}',
    "{'type':'ping'}",
    '{"type":"ping",}',
    "{type:'ping'}",
    '["type","ping"]',
    '[{"type":"ping"}]',
    "[]",
    '"ping"',
    "5",
    "-0",
    "null",
    "true",
    "{}",
    '{"type":"ping","ref":01}',
    '{"type":"ping","ref":+1}',
    '{"type":"ping","ref":0x1}',
    '{"type":"ping","ref":NaN}',
    '{"type":"ping","ref":1e400}',
    '{"type":"ping","ref":' + "9" * 5000 + "}",
    '{"type":"ping","ref":-' + "9" * 400 + "}",
    '{"type":"pi\nng"}',
    '{"type":"ping\\x"}',
    '{"type":"ping"',
    '//\n{"type":"ping"}',
    "\x00",
    "ping",
    "[" * 8000,
    '{"a":' * 1600,
    "[" * 4000 + "]" * 4000,
    "[" * 8000 + "]",
    '{"type":' * 900 + "1" + "}" * 900,
]

ARGUABLE_JSON = [
    '{"type":"ping","x":' + "[" * 4000 + "]" * 4000 + "}",
    '{"type":"ping","x":' + '{"x":' * 1000 + "1" + "}" * 1000 + "}",
    '{"type":"ping","x":' + "9" * 8000 + "}",
    '{"type":"ping","x":-1e999}',
    '{"type":"ping","x":0.' + "1" * 5000 + "}",
    '{"type":"ping","x":"\\ud800"}',
    '{"type":"ping","x":"\\u0000"}',
    '{"type":"dance","type":"ping"}',
    '{"type":"ping","type":"ping"}',
    '\ufeff{"type":"ping"}',
    '{"type":"ping","x":NaN}',
    '{"type":"ping","x":-Infinity}',
]

_PING = msgpack.packb(PING)
BROKEN_MSGPACK = [
    b"",
    b"\xc1",
    b"\xc0",
    b"\x05",
    b"\x80",
    b"\x90",
    b"\xa4ping",
    _PING[:-1],
    _PING[:3],
    _PING + b"\x00",
    _PING * 2,
    _PING + b"\xc1",
    b"\x91" + _PING,
    b'{"type":"ping"}',
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x05",
    b"\x81\xa4type\xdb\xff\xff\xff\xffping",
    b"\x91" * 8000,
    b"\x81\xa1x" * 2600,
    b"\x81" * 8000,
    b"\x81\xa4type" * 1300,
    b"\x91" * 4000 + b"\xc0",
    b"\xff" * 100,
    msgpack.packb(msgpack.ExtType(5, b"x")),
    msgpack.packb(msgpack.Timestamp(1)),
    msgpack.packb({1: 2}),
    msgpack.packb({"type": msgpack.ExtType(5, b"ping")}),
    msgpack.packb({**PING, "ref": msgpack.ExtType(5, b"\1")}),
    msgpack.packb({**PING, "ref": msgpack.Timestamp(1)}),
    msgpack.packb({**PING, "ref": float("nan")}),
    msgpack.packb({"type": "watch", "items": msgpack.ExtType(1, b"a")}),
    msgpack.packb({"type": "watch", "items": b"a"}),
]

ARGUABLE_MSGPACK = [
    msgpack.packb({**PING, "x": msgpack.ExtType(5, b"x")}),
    msgpack.packb({**PING, "x": msgpack.Timestamp(1, 1)}),
    msgpack.packb({**PING, "x": b"\xff\x00"}),
    msgpack.packb({**PING, 7: 2, None: 3, True: 4}),
    msgpack.packb({**PING, b"x": 2}),
    b"\x82\xa4type\xa4ping\xa1x\xa1\xff",
    b"\x82\xa4type\xa4ping\xa1\xff\xa1x",
    b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 4000 + b"\xc0",
    b"\x82\xa4type\xa4ping" + b"\x81\xa1x" * 1000 + b"\xc0\xc0",
    b"\x82\xa4type\xa5dance\xa4type\xa4ping",
    b"\x82\xa4type\xa4ping\xa1x\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\x82\xa4type\xa4ping\x91\x01\x02",
]


async def each(server: Server, protocol: str, messages: list[Any], do: Callable[[Client, Any], Any]) -> None:
    async with connect(server, protocol) as page:
        for message in messages:
            await do(page, message)
        assert not [f for f in page.frames if f["type"] not in ("pong", "error")]


async def test_broken_json(server: Server) -> None:
    await each(server, JSON, BROKEN_JSON, refuses)


async def test_broken_messagepack(server: Server) -> None:
    await each(server, MSGPACK, BROKEN_MSGPACK, refuses)


async def test_json_one_may_argue_about(server: Server) -> None:
    await each(server, JSON, ARGUABLE_JSON, survives)


async def test_messagepack_one_may_argue_about(server: Server) -> None:
    await each(server, MSGPACK, ARGUABLE_MSGPACK, survives)


async def test_wrong_frame_kind(server: Server, http: Http, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, token=alice.token) as page:
        for message in (
            PING,
            {"type": "react", "item": item, "reaction": "like"},
            {"type": "watch", "items": [item]},
        ):
            for other in (JSON, MSGPACK):
                data = encode(message, other)
                data = data.encode() if isinstance(data, str) else data
                if protocol == MSGPACK and other == MSGPACK:
                    continue  # its bytes need not be text, which would be 1007
                await refuses(page, data, text=protocol == MSGPACK)
        await refuses(page, b"", text=protocol == MSGPACK)
        assert [f for f in page.frames if f["type"] == "counts"] == []
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize("seed", range(3))
async def test_noise(server: Server, protocol: str, seed: int) -> None:
    """Good messages with bytes changed, cut and inserted: answered or refused, none is fatal."""
    chance = random.Random(seed)
    models: list[Frame] = [
        PING,
        {"type": "watch", "items": ["a", "b"], "since": {"a": 5}},
        {"type": "unwatch", "items": ["a"]},
        {"type": "react", "item": "a", "reaction": "like", "ref": 3},
        {"type": "auth", "token": "x.y.z"},
    ]
    async with connect(server, protocol) as page:
        page.noisy, page._ref = True, 10**15
        for _ in range(60):
            data = encode(chance.choice(models), protocol)
            raw = bytearray(data if isinstance(data, bytes) else data.encode())
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(raw) or 1)
                raw[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
            noise: str | bytes = bytes(raw)
            if protocol == JSON:
                noise = raw.decode("utf-8", "replace")
            await page.raw(noise)
            await page.ping()
        assert not [f for f in page.frames if f["type"] in ("ack", "mine", "ready", "bye")]


async def test_nothing_of_it_was_stored(server: Server, http: Http, alice: Visitor, protocol: str) -> None:
    item = new_item()
    async with connect(server, protocol, item, token=alice.token) as page:
        await page.refused("react", "bad_reaction", item=item, reaction="love")
        await refuses(page, encode({"type": "react", "item": item, "reaction": "like", "ref": -1}, protocol))
        await page.refused("react", "bad_item", item=item + "\n", reaction="like")
        await page.refused("set", "bad_message", item=item, reaction="like")
        await refuses(page, json.dumps({"type": "react", "item": item}).encode(), text=protocol == JSON)
        ack = await page.react(item, None)
        assert (ack["version"], ack["counts"]) == (0, {"like": 0, "dislike": 0})
    entry = await http.item(item, alice.token)
    assert (entry["version"], entry["reaction"]) == (0, None)
