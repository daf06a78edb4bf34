"""Encoded WebSocket frames (RFC 6455, section 5.2).

A server's frames are unmasked and, without compression, depend only on their payload, so that one frame
serves every subscriber. Does not depend on connections; frames are parsed by websockets' Sans-I/O core.
"""

from struct import Struct

TEXT = 0x1
BINARY = 0x2

_FINAL = 0x80
# The headers of all frames with a length of one byte.
_SHORT = {opcode: [bytes((_FINAL | opcode, length)) for length in range(126)] for opcode in (TEXT, BINARY)}
_MEDIUM = Struct("!BBH").pack
_LONG = Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """Encode a payload as one final frame."""
    length = len(payload)
    if length < 126:
        return _SHORT[opcode][length] + payload
    if length < 65536:
        return _MEDIUM(_FINAL | opcode, 126, length) + payload
    return _LONG(_FINAL | opcode, 127, length) + payload
