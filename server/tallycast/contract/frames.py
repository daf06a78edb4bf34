"""Ready-made WebSocket frames (RFC 6455, section 5.2).

A server's frames are unmasked and, compression being off, depend on nothing but their payload: one frame
serves every subscriber. Reading frames is the work of websockets' Sans-I/O core, not of this module.
"""

from struct import Struct

TEXT = 0x1
BINARY = 0x2

_FINAL = 0x80
# The heads of all frames that are short enough for one byte of length.
_SHORT = {opcode: [bytes((_FINAL | opcode, length)) for length in range(126)] for opcode in (TEXT, BINARY)}
_MEDIUM = Struct("!BBH").pack
_LONG = Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole final frame."""
    length = len(payload)
    if length < 126:
        return _SHORT[opcode][length] + payload
    if length < 65536:
        return _MEDIUM(_FINAL | opcode, 126, length) + payload
    return _LONG(_FINAL | opcode, 127, length) + payload
