"""Messages on the wire, in either format: clients' messages encoded, servers' messages decoded.

Owns the decoding of messages. MessagePack is decoded by another library than the server's, as an independent
check. Does not depend on frames or connections.
"""

from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
from tallycast.contract.codec import JSON, MSGPACK
from tallycast.contract.messages import ClientMessage, ServerMessage

KNOWN = frozenset(("counts", "mine", "watching", "unwatched", "ready", "pong", "ack", "error", "beat", "bye"))


class InvalidMessageError(ValueError):
    """Not a message of the contract."""


class Codec:
    """One wire format. ``decode_any`` decodes without a schema."""

    def __init__(
        self,
        subprotocol: str,
        *,
        binary: bool,
        decode: Callable[[bytes], ServerMessage],
        decode_any: Callable[[bytes], Any],
        encode: Callable[[ClientMessage], bytes],
    ) -> None:
        self.subprotocol = subprotocol
        self.binary = binary
        self.encode = encode
        self._decode = decode
        self._decode_any = decode_any

    def decode(self, message: bytes) -> ServerMessage | None:
        """Decode a message; None for an unknown type, which clients ignore.

        Raises:
            InvalidMessageError: it is not a message of the contract.
        """
        try:
            return self._decode(message)
        except (ValueError, TypeError):
            pass
        try:
            kind = self._decode_any(message)["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            kind = None
        if isinstance(kind, str) and kind not in KNOWN:
            return None
        raise InvalidMessageError(message[:200])


def _decode_msgpack(message: bytes) -> ServerMessage:
    try:
        raw = msgpack.unpackb(message, raw=False, strict_map_key=False)
    except (msgpack.UnpackException, RecursionError) as error:
        raise ValueError("not MessagePack") from error
    decoded: ServerMessage = msgspec.convert(raw, ServerMessage)
    return decoded


CODECS = {
    "json": Codec(
        JSON.subprotocol,
        binary=False,
        decode=msgspec.json.Decoder(ServerMessage).decode,
        decode_any=msgspec.json.decode,
        encode=msgspec.json.encode,
    ),
    "msgpack": Codec(
        MSGPACK.subprotocol,
        binary=True,
        decode=_decode_msgpack,
        decode_any=msgspec.msgpack.decode,
        encode=msgspec.msgpack.encode,
    ),
}
