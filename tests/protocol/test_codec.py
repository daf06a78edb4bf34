"""Both wire formats: what is read, what is refused and why, what is written."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from tallycast.contract import messages as m
from tallycast.contract.codec import BY_SUBPROTOCOL, EVENTS, JSON, MSGPACK, Unreadable, Wire
from tallycast.contract.errors import BadItem, BadMessage, BadReaction, Refusal
from tallycast.contract.items import check_item

wires = pytest.mark.parametrize("wire", [JSON, MSGPACK], ids=["json", "msgpack"])
TOP = m.MAX_SAFE_INTEGER


def packed(wire: Wire, message: Any) -> bytes:
    """``message`` in a wire format, by an encoder that is not the server's."""
    return bytes(msgpack.packb(message)) if wire.binary else json.dumps(message).encode()


def shown(wire: Wire, message: m.ServerMessage) -> Any:
    """What a client reads from a frame of a short message."""
    frame = wire.frame(message)
    assert frame[0] == (0x82 if wire.binary else 0x81)
    payload = frame[2:] if frame[1] < 126 else frame[4:]
    return msgpack.unpackb(payload) if wire.binary else json.loads(payload)


@wires
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"type": "ping"}, m.Ping()),
        ({"type": "ping", "ref": 0}, m.Ping(0)),
        ({"type": "ping", "ref": TOP, "more": [1, {"a": None}]}, m.Ping(TOP)),
        ({"type": "auth", "token": "t"}, m.Auth("t")),
        ({"type": "auth", "token": "t", "merge": "u"}, m.Auth("t", "u")),
        ({"type": "watch", "items": []}, m.Watch([])),
        ({"type": "watch", "items": ["a"], "since": {"a": TOP}}, m.Watch(["a"], {"a": TOP})),
        ({"type": "unwatch", "items": ["é"]}, m.Unwatch(["é"])),
        ({"type": "react", "item": "a", "reaction": None}, m.React("a", None)),
        ({"reaction": "like", "ref": 1, "item": "a", "type": "react"}, m.React("a", "like", 1)),
    ],
)
def test_messages_are_read(wire: Wire, raw: Any, message: m.ClientMessage) -> None:
    assert wire.decode(packed(wire, raw)) == message


@wires
@pytest.mark.parametrize(
    ("raw", "why", "ref"),
    [
        ([], BadMessage, UNSET),
        ("ping", BadMessage, UNSET),
        (None, BadMessage, UNSET),
        ({}, BadMessage, UNSET),
        ({"type": "nope", "ref": 4}, BadMessage, 4),
        ({"type": 1, "ref": 4}, BadMessage, 4),
        ({"type": ["ping"]}, BadMessage, UNSET),
        ({"ref": 4}, BadMessage, 4),
        ({"type": "ping", "ref": -1}, BadMessage, UNSET),
        ({"type": "ping", "ref": TOP + 1}, BadMessage, UNSET),
        ({"type": "ping", "ref": 1.5}, BadMessage, UNSET),
        ({"type": "ping", "ref": "1"}, BadMessage, UNSET),
        ({"type": "ping", "ref": None}, BadMessage, UNSET),
        ({"type": "ping", "ref": True}, BadMessage, UNSET),
        ({"type": "auth", "ref": 4}, BadMessage, 4),
        ({"type": "auth", "token": 1, "ref": 4}, BadMessage, 4),
        ({"type": "auth", "token": "t", "merge": None}, BadMessage, UNSET),
        ({"type": "watch"}, BadMessage, UNSET),
        ({"type": "watch", "items": "a"}, BadMessage, UNSET),
        ({"type": "watch", "items": ["a", 1], "ref": 4}, BadItem, 4),
        ({"type": "watch", "items": ["a"], "since": {"a": -1}}, BadMessage, UNSET),
        ({"type": "watch", "items": ["a"], "since": ["a"]}, BadMessage, UNSET),
        ({"type": "watch", "items": ["a"], "since": None}, BadMessage, UNSET),
        ({"type": "react", "item": "a", "ref": 4}, BadMessage, 4),
        ({"type": "react", "reaction": "like"}, BadMessage, UNSET),
        ({"type": "react", "item": 5, "reaction": "like", "ref": 4}, BadItem, 4),
        ({"type": "react", "item": None, "reaction": "like"}, BadItem, UNSET),
        ({"type": "react", "item": "a", "reaction": 5, "ref": 4}, BadReaction, 4),
        ({"type": "react", "item": "a", "reaction": ["like"]}, BadReaction, UNSET),
    ],
)
def test_what_does_not_fit_is_named(wire: Wire, raw: Any, why: type[Refusal], ref: Any) -> None:
    answer = wire.decode(packed(wire, raw))
    assert isinstance(answer, Unreadable)
    assert type(answer.refusal) is why
    assert answer.ref == ref


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b'{"type":"ping"} x', b"\xff", b"[" * 8000, b'{"a":' * 1500, b"9" * 8000, b"NaN"],
)
def test_broken_json_is_a_bad_message(payload: bytes) -> None:
    answer = JSON.decode(payload)
    assert isinstance(answer, Unreadable)
    assert type(answer.refusal) is BadMessage


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x81",
        b"\xc1",
        b"\x91" * 8000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        msgpack.packb({"type": "ping"}) * 2,
        msgpack.packb(msgpack.ExtType(1, b"x")),
        msgpack.packb({"type": msgpack.ExtType(1, b"x")}),
        msgpack.packb({b"type": "ping"}),
        b"\x81\x90\x90",
    ],
)
def test_broken_messagepack_is_a_bad_message(payload: bytes) -> None:
    answer = MSGPACK.decode(payload)
    assert isinstance(answer, Unreadable)
    assert type(answer.refusal) is BadMessage


def test_what_is_wrong_in_an_unknown_field_does_not_matter() -> None:
    assert JSON.decode(b'{"type":"ping","x":"a\\ud800","ref":7}') == m.Ping(7)
    assert MSGPACK.decode(b"\x82\xa4type\xa4ping\xa1x\xa1\xff") == m.Ping()
    for payload in (
        b'{"type":"ping","x":NaN}',
        b'\xef\xbb\xbf{"type":"ping"}',
        '{"type":"ping"}'.encode("utf-16"),
    ):
        answer = JSON.decode(payload)
        assert isinstance(answer, Unreadable), "no JSON at all"
        assert type(answer.refusal) is BadMessage


def test_ids_that_are_not_unicode_are_bad_items() -> None:
    lone = JSON.decode(b'{"type":"react","item":"\\ud800","reaction":"like","ref":1}')
    raw = MSGPACK.decode(b"\x83\xa4type\xa5react\xa4item\xa1\xff\xa8reaction\xa4like")
    listed = JSON.decode(b'{"type":"watch","items":["a","\\udfff"]}')
    for message in (lone, raw, listed):
        assert isinstance(message, m.React | m.Watch)
        ids = [message.item] if isinstance(message, m.React) else message.items
        with pytest.raises(BadItem):
            check_item(ids[-1])


@wires
def test_messages_are_written_with_a_type_and_without_what_is_not_set(wire: Wire) -> None:
    counts = {"like": 3, "dislike": 1}
    for message, expected in (
        (m.Counts("a", 7, counts), {"type": "counts", "item": "a", "version": 7, "counts": counts}),
        (
            m.Counts("a", 7, counts, reset=True),
            {"type": "counts", "item": "a", "version": 7, "counts": counts, "reset": True},
        ),
        (m.Mine("a", 7, None), {"type": "mine", "item": "a", "version": 7, "reaction": None}),
        (m.Watching(), {"type": "watching"}),
        (m.Ready("a:x", 2), {"type": "ready", "visitor": "a:x", "ref": 2}),
        (
            m.Ack("a", "like", 7, counts, 0),
            {"type": "ack", "item": "a", "reaction": "like", "version": 7, "counts": counts, "ref": 0},
        ),
        (m.Error("forbidden", "no"), {"type": "error", "code": "forbidden", "message": "no"}),
        (m.Beat(), {"type": "beat"}),
        (m.Bye(1.5), {"type": "bye", "retry_after": 1.5}),
    ):
        assert shown(wire, message) == expected


@wires
@given(payload=st.binary(max_size=200))
def test_no_bytes_break_a_decoder(wire: Wire, payload: bytes) -> None:
    assert wire.decode(payload) is not None


def test_formats_are_found_by_their_subprotocol() -> None:
    assert BY_SUBPROTOCOL == {"tallycast.v1.json": JSON, "tallycast.v1.msgpack": MSGPACK}


@pytest.mark.parametrize("item", ["a", "é", "a\u2028b", '"\\', "\r\n"])
def test_an_event_is_one_line_of_data_whatever_is_in_it(item: str) -> None:
    name, data, *rest = EVENTS.frame(m.Counts(item, 1, {"like": 1}, True)).decode().split("\n")
    assert (name, rest) == ("event: counts", ["", ""])
    said = {"type": "counts", "item": item, "version": 1, "counts": {"like": 1}, "reset": True}
    assert json.loads(data.removeprefix("data: ")) == said
    assert "\r" not in data


def test_optional_fields_are_left_out_of_events() -> None:
    assert EVENTS.frame(m.Counts("a", 0, {})) == (
        b'event: counts\ndata: {"type":"counts","item":"a","version":0,"counts":{}}\n\n'
    )
    assert EVENTS.frame(m.Beat()) == b'event: beat\ndata: {"type":"beat"}\n\n'
