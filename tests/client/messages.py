"""What the contract says of messages, written from it alone: their two codecs, and the shape of each type.

What breaks it raises `ViolationError`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import msgpack

JSON = "tallycast.v1.json"
MSGPACK = "tallycast.v1.msgpack"
SITE = "default"
KINDS = ("like", "dislike")
ZERO = dict.fromkeys(KINDS, 0)
MAX_INT = 2**53 - 1
MAX_MESSAGE = 8 * 1024
DEADLINE = 10.0

CODES = {
    "bad_message", "bad_item", "bad_reaction", "unauthorized", "forbidden", "rate_limited", "too_many_items",
    "unavailable",
}  # fmt: skip
ANSWERS = {"auth": "ready", "watch": "watching", "unwatch": "unwatched", "react": "ack", "ping": "pong"}

Frame = dict[str, Any]


class ViolationError(AssertionError):
    """The server broke the contract."""


class GoneError(AssertionError):
    """The connection closed while something was still awaited on it."""


class Server(Protocol):
    url: str
    ws_url: str


def new_item(label: str = "item") -> str:
    """an item id that no test has used before."""
    return f"{label}-{uuid.uuid4().hex[:16]}"


def query(*items: str, site: str | None = SITE) -> str:
    """The query string for a site and some items, percent-encoded."""
    pairs = [] if site is None else [("site", site)]
    pairs += [("item", item) for item in items]
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def demand(condition: object, why: str, frame: object) -> None:
    if not condition:
        raise ViolationError(f"{why}: {frame!r:.2000}")


def is_int(value: object, most: int = MAX_INT) -> bool:
    return type(value) is int and 0 <= value <= most


def is_number(value: object) -> bool:
    return type(value) in (int, float) and value >= 0  # type: ignore[operator]


def is_reaction(value: object) -> bool:
    return value is None or value in KINDS


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def is_counts(value: object) -> bool:
    return (
        isinstance(value, dict) and sorted(value) == sorted(KINDS) and all(is_int(n) for n in value.values())
    )


def is_true(value: object) -> bool:
    return value is True


def is_visitor(value: object) -> bool:
    return isinstance(value, str) and value[:2] in ("a:", "u:") and len(value) > 2


Check = Callable[[Any], bool]
REF: dict[str, Check] = {"ref": is_int}
REQUIRED: dict[str, dict[str, Check]] = {
    "counts": {"item": is_text, "version": is_int, "counts": is_counts},
    "mine": {"item": is_text, "version": is_int, "reaction": is_reaction},
    "watching": {},
    "unwatched": {},
    "ready": {"visitor": is_visitor},
    "pong": {},
    "ack": {"item": is_text, "version": is_int, "reaction": is_reaction, "counts": is_counts},
    "error": {"code": CODES.__contains__, "message": is_text},
    "beat": {},
    "bye": {"retry_after": is_number},
}
OPTIONAL: dict[str, dict[str, Check]] = {
    "counts": {"reset": is_true},
    "watching": REF,
    "unwatched": REF,
    "ready": REF,
    "pong": REF,
    "ack": REF,
    "error": {**REF, "item": is_text, "retry_after": is_number},
}

# One version means one set of counts, in every transport: what any client received for (item, version).
_told: dict[tuple[str, int], dict[str, int]] = {}


def check_truth(item: str, version: int, counts: dict[str, int], frame: object) -> None:
    known = _told.setdefault((item, version), dict(counts))
    demand(known == counts, f"one version, two sets of counts ({known} before)", frame)
    demand(version > 0 or not any(counts.values()), "counts on an untouched item", frame)


def check_shape(frame: object) -> None:
    """The fields of one message from the server. Unknown fields and types are ignored, as a client must."""
    demand(isinstance(frame, dict), "a message is an object", frame)
    assert isinstance(frame, dict)
    demand(all(isinstance(key, str) for key in frame), "keys are strings", frame)
    kind = frame.get("type")
    demand(is_text(kind), "`type` is a string", frame)
    for name, good in REQUIRED.get(kind, {}).items():
        demand(name in frame, f"`{name}` is missing", frame)
        demand(good(frame[name]), f"`{name}` is not what it must be", frame)
    for name, good in OPTIONAL.get(kind, {}).items():
        demand(name not in frame or good(frame[name]), f"`{name}` is not what it must be", frame)
    for name, value in frame.items():
        unless_said = name == "reaction" and kind in ("mine", "ack")
        demand(value is not None or unless_said, f"`{name}` is null, it should be left out", frame)
    if kind in ("counts", "ack"):
        check_truth(frame["item"], frame["version"], frame["counts"], frame)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    demand(len({key for key, _ in pairs}) == len(pairs), "a key twice in one object", pairs)
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ViolationError(f"{name} is not JSON")


def _no_extension(code: int, data: bytes) -> None:
    raise ViolationError(f"MessagePack extension type {code}")


def encode(message: object, protocol: str) -> str | bytes:
    if protocol == MSGPACK:
        return msgpack.packb(message)
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def decode(data: str | bytes, protocol: str) -> Any:
    if protocol == MSGPACK:
        demand(isinstance(data, bytes), "MessagePack comes in binary frames", data)
        return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=_no_extension)
    demand(isinstance(data, str), "JSON comes in text frames", data)
    return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_unique)
