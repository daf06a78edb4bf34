"""A server's frames as bytes (RFC 6455, section 5.2): where one ends, and what a whole message holds.

Pure. Only headers are looked at here; what is not a whole, final, plain message is for websockets' parser.
"""

from websockets.frames import Frame, Opcode

TEXT, BINARY = 0x81, 0x82


def end_of_frame(data: bytes, at: int) -> int | None:
    """Where the frame that begins at ``at`` ends; ``None`` when a part of it is missing.

    A masked frame, which no server may send, ends where the data ends: a parser will say so.
    """
    size = len(data) - at
    if size < 2:
        return None
    length, start = data[at + 1], at + 2
    if length & 0x80:
        return len(data)
    if length == 126:
        if size < 4:
            return None
        length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
    elif length == 127:
        if size < 10:
            return None
        length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
    end = start + length
    return end if end <= len(data) else None


def payload(frame: bytes) -> bytes:
    """The payload of one whole unmasked frame."""
    length = frame[1]
    return frame[2 if length < 126 else 4 if length == 126 else 10 :]


def masked(message: bytes, *, binary: bool) -> bytes:
    """A client's message as one frame."""
    return Frame(Opcode.BINARY if binary else Opcode.TEXT, message).serialize(mask=True)


def goodbye() -> bytes:
    """A client's close frame: code 1000."""
    return Frame(Opcode.CLOSE, (1000).to_bytes(2)).serialize(mask=True)
