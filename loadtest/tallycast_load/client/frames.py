"""Frames of the WebSocket as bytes (RFC 6455, section 5.2).

Pure. Only headers are parsed here: whatever is not a whole message in one frame is parsed by websockets.
"""

from websockets.frames import Frame, Opcode

TEXT, BINARY = 0x81, 0x82


def end_of_frame(data: bytes, at: int) -> int | None:
    """Where the frame that begins at ``at`` ends; None when it is incomplete.

    A masked frame, which servers must not send, ends where the data ends: the parser reports it.
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
    """Encode a client's message as one frame."""
    return Frame(Opcode.BINARY if binary else Opcode.TEXT, message).serialize(mask=True)


def close_frame() -> bytes:
    """Encode a client's close frame with code 1000."""
    return Frame(Opcode.CLOSE, (1000).to_bytes(2)).serialize(mask=True)
