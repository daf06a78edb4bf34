"""A connection of the fake server that watches items."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from websockets.frames import Frame, Opcode


class Watcher:
    """One socket or stream that watches; ``send`` takes an event's name and its message."""

    def __init__(
        self, writer: asyncio.StreamWriter, send: Callable[[str, Any], None], *, socket: bool
    ) -> None:
        self.writer = writer
        self.socket = socket
        self.send = send
        self.items: set[str] = set()
        self.visitor: str | None = None
        self.muted = False

    def close(self, code: int | None) -> None:
        """End it: a stream has no code."""
        if self.socket:
            body = b"" if code is None else code.to_bytes(2)
            self.writer.write(Frame(Opcode.CLOSE, body).serialize(mask=False))
        self.writer.close()

    def send_oddly(self, message: Any) -> None:
        """What the contract and the RFCs allow: fragments, pings, unknown messages, comments, split lines."""
        text = json.dumps({**message, "new": {"field": 1}}).encode()
        if self.socket:
            for frame in (
                Frame(Opcode.PING, b"?"),
                Frame(Opcode.TEXT, b'{"type":"news","of":"tomorrow"}'),
                Frame(Opcode.TEXT, b'{"type":"error","code":"unauthorized","message":"expired"}'),
                Frame(Opcode.TEXT, text[:20], fin=False),
                Frame(Opcode.PONG, b"!"),
                Frame(Opcode.CONT, text[20:]),
            ):
                self.writer.write(frame.serialize(mask=False))
        else:
            first, second = json.dumps(message, indent=1).encode().split(b"\n", 1)
            lines = b"\r\ndata:".join((first, *second.split(b"\n")))
            event = (
                b": a comment\n\nevent: news\ndata: of tomorrow\n\nid: 7\nevent: counts\ndata:%s\n\n" % lines
            )
            for part in (event[:40], event[40:]):
                self.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
