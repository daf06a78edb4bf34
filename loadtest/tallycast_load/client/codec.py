"""What is said on the wire, in either format: clients' messages out, servers' messages in.

Owns the reading of messages. MessagePack is read by another library than the server's, as an independent
check. Must not know frames or connections.
"""

from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
from tallycast.contract.codec import JSON, MSGPACK
from tallycast.contract.messages import ClientMessage, ServerMessage

KNOWN = frozenset(("counts", "mine", "watching", "unwatched", "ready", "pong", "ack", "error", "beat", "bye"))


class UnreadableError(ValueError):
    """Not a message of the contract."""


class Speech:
    """One wire format."""

    def __init__(
        self,
        subprotocol: str,
        *,
        binary: bool,
        read: Callable[[bytes], ServerMessage],
        loose: Callable[[bytes], Any],
        say: Callable[[ClientMessage], bytes],
    ) -> None:
        self.subprotocol = subprotocol
        self.binary = binary
        self.say = say
        self._read = read
        self._loose = loose

    def read(self, message: bytes) -> ServerMessage | None:
        """The message; ``None`` for a type that is not known, which clients ignore.

        Raises:
            UnreadableError: it is not one.
        """
        try:
            return self._read(message)
        except (ValueError, TypeError):
            pass
        try:
            kind = self._loose(message)["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            kind = None
        if isinstance(kind, str) and kind not in KNOWN:
            return None
        raise UnreadableError(message[:200])


def _read_msgpack(message: bytes) -> ServerMessage:
    try:
        raw = msgpack.unpackb(message, raw=False, strict_map_key=False)
    except (msgpack.UnpackException, RecursionError) as error:
        raise ValueError("not MessagePack") from error
    read: ServerMessage = msgspec.convert(raw, ServerMessage)
    return read


SPEECHES = {
    "json": Speech(
        JSON.subprotocol,
        binary=False,
        read=msgspec.json.Decoder(ServerMessage).decode,
        loose=msgspec.json.decode,
        say=msgspec.json.encode,
    ),
    "msgpack": Speech(
        MSGPACK.subprotocol,
        binary=True,
        read=_read_msgpack,
        loose=msgspec.msgpack.decode,
        say=msgspec.msgpack.encode,
    ),
}
