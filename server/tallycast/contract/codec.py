"""The wire formats: JSON in text frames, MessagePack in binary frames, JSON in server-sent events.

Owns decoding and encoding, and the error for what cannot be decoded. An invalid message is decoded a second
time without types, to find its ``ref`` and the invalid field: slower, but for invalid messages only. Does not
depend on what messages do.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import msgspec

from tallycast.contract import frames
from tallycast.contract.errors import BadItem, BadMessage, BadReaction, Refusal
from tallycast.contract.items import check_item
from tallycast.contract.messages import MAX_SAFE_INTEGER, ClientMessage, ServerMessage

MAX_MESSAGE = 8192

_TYPES = ("auth", "watch", "unwatch", "react", "ping")


class Unreadable(NamedTuple):
    """An invalid message: why, and its ``ref`` if that is usable."""

    refusal: Refusal
    ref: int | msgspec.UnsetType = msgspec.UNSET


class Wire:
    """A format of WebSocket messages."""

    __slots__ = ("_decode", "_encode", "_loose", "binary", "opcode", "subprotocol")

    def __init__(
        self,
        subprotocol: str,
        *,
        binary: bool,
        decode: Callable[[bytes], ClientMessage],
        encode: Callable[[object], bytes],
        loose: Callable[[bytes], Any],
    ) -> None:
        self.subprotocol = subprotocol
        self.binary = binary
        self.opcode = frames.BINARY if binary else frames.TEXT
        self._decode = decode
        self._encode = encode
        self._loose = loose

    def decode(self, payload: bytes) -> ClientMessage | Unreadable:
        """Decode a message."""
        try:
            return self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._explain(payload)

    def frame(self, message: ServerMessage) -> bytes:
        """Encode a message as a complete frame."""
        return frames.frame(self.opcode, self._encode(message))

    def _explain(self, payload: bytes) -> ClientMessage | Unreadable:
        try:
            raw = self._loose(payload)
            # An error in an unknown field does not matter.
            message: ClientMessage = msgspec.convert(raw, ClientMessage)
            return message
        except msgspec.ValidationError:
            pass
        except (ValueError, TypeError, OverflowError, RecursionError):
            return Unreadable(BadMessage(f"not {'MessagePack' if self.binary else 'JSON'}"))
        if not isinstance(raw, dict):
            return Unreadable(BadMessage("a message is an object with a type"))
        ref = raw.get("ref", msgspec.UNSET)
        if ref is msgspec.UNSET or (type(ref) is int and 0 <= ref <= MAX_SAFE_INTEGER):
            return Unreadable(_reason(raw), ref)
        return Unreadable(BadMessage("ref is an integer from 0 to 2^53-1"))


class EventWire:
    """The format of ``text/event-stream`` (WHATWG HTML, server-sent events), which only the server writes."""

    __slots__ = ("_encode",)

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def frame(self, message: ServerMessage) -> bytes:
        """Encode a message as a complete event: its type as the event's, the message as the data.

        msgspec writes JSON without line breaks, so the data is always one line.
        """
        name = str(message.__struct_config__.tag).encode()
        return b"event: %s\ndata: %s\n\n" % (name, self._encode(message))


def _reason(raw: dict[Any, Any]) -> Refusal:
    """Why a message, decoded without types, is invalid."""
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return BadMessage(f"type is one of {', '.join(_TYPES)}")
    ids: list[Any] = []
    if kind == "react" and "item" in raw:
        ids = [raw["item"]]
    elif kind in ("watch", "unwatch") and isinstance(raw.get("items"), list):
        ids = raw["items"]
    try:
        for item in ids:
            check_item(item)
    except BadItem as refusal:
        return refusal
    if kind == "react" and ids and not isinstance(raw.get("reaction", ""), str | None):
        return BadReaction("a reaction is a string or null")
    return BadMessage(f"the fields do not fit a message of type {kind}")


def _loose_json(payload: bytes) -> Any:
    # From text, because json guesses other encodings from bytes. NaN is not JSON (RFC 8259).
    return json.loads(payload.decode(), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _loose_msgpack(payload: bytes) -> Any:
    return msgpack.unpackb(
        payload,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_str_len=MAX_MESSAGE,
        max_bin_len=MAX_MESSAGE,
        max_array_len=MAX_MESSAGE,
        max_map_len=MAX_MESSAGE,
        max_ext_len=MAX_MESSAGE,
    )


JSON = Wire(
    "tallycast.v1.json",
    binary=False,
    decode=msgspec.json.Decoder(ClientMessage).decode,
    encode=msgspec.json.Encoder().encode,
    loose=_loose_json,
)
MSGPACK = Wire(
    "tallycast.v1.msgpack",
    binary=True,
    decode=msgspec.msgpack.Decoder(ClientMessage).decode,
    encode=msgspec.msgpack.Encoder().encode,
    loose=_loose_msgpack,
)
EVENTS = EventWire()
BY_SUBPROTOCOL = {wire.subprotocol: wire for wire in (JSON, MSGPACK)}
