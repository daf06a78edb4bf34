"""One event stream that watches (``GET /v1/stream``), read as cheaply as a WebSocket.

Owns the HTTP below a reader: httptools parses it, until the same bytes come that another stream of this
process was brought. They are recognised as a whole when they begin and end between two chunks (RFC 9112,
section 7.1). Must not know why it is opened or dropped.
"""

import asyncio
from collections.abc import Iterable
from time import monotonic_ns as now
from typing import cast

import httptools
import msgspec
from tallycast.contract.messages import Bye, Counts

from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Reader, Room
from tallycast_load.measure.updates import NOTHING, Seen
from tallycast_load.measure.violations import ABNORMAL, NOT_WATCHED, UNREADABLE

# What a close code would be, of a stream that said goodbye.
RESTART = 1012
_COUNTS = msgspec.json.Decoder(Counts).decode
_BYE = msgspec.json.Decoder(Bye).decode


class Stream(Reader):
    """An event stream."""

    __slots__ = ("_clean", "_event", "_in_chunk", "_known", "_parser", "_request", "_within")

    def __init__(self, room: Room, target: Target, number: int, items: Iterable[int], sleepy: bool) -> None:
        super().__init__(room, number, items, None, sleepy)
        self._known = room.known
        path = target.path("/v1/stream", room.site, [room.items[item] for item in self.shown])
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        self._parser: httptools.HttpResponseParser | None = None
        # Between two chunks, with nothing left over.
        self._clean = False
        self._in_chunk = False
        self._event = b""
        self._within: list[Seen] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS, are there: ask."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._clean = self._in_chunk = False
        # Every connection starts with a snapshot of each item, which replaces what was shown.
        self.shown = dict.fromkeys(self.shown, NOTHING)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Bytes came: usually one event, known to this process, and news to this connection."""
        seen = self._known.get(data) if self._clean and self.up else None
        if seen is None:
            self._parse(data)
        elif self.usual and self.shown.get(seen.item) is seen.previous:
            self.shown[seen.item] = seen
            moment = now()
            seen.times.append(moment)
            if moment > self._room.due:
                self._room.ring()
            return
        else:
            self.see(seen)
        self._room.pulse()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        code = None if self.leaving else RESTART if self.bye is not None else ABNORMAL
        self._parser = None
        self._event = b""
        self._room.ended(self, code)

    # The run

    def leave(self, polite: bool) -> None:
        """Go; a stream has no other goodbye than its end."""
        if self.transport is not None:
            self.leaving = True
            if polite:
                self.transport.close()
            else:
                self.transport.abort()

    # httptools

    def on_headers_complete(self) -> None:
        """The answer's head is there."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status > 200:
            self.why = f"GET /v1/stream was answered {status}"

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """A chunk is over."""
        self._in_chunk = False

    def on_body(self, body: bytes) -> None:
        """Text of the stream came: take whole events (HTML standard, section 9.2)."""
        text = (self._event + body).replace(b"\r\n", b"\n")
        *events, self._event = text.split(b"\n\n")
        for event in events:
            self._take(event)

    # Inside

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        clean, self._within = self._clean, []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._room.faults.add(UNREADABLE, f"{error} on connection {self.number}")
        if self.why and self.transport is not None:
            self.transport.abort()
            return
        self._clean = not self._in_chunk and not self._event and data.endswith(b"\n")
        if clean and self._clean and len(self._within) == 1:
            self._room.alias(data, self._within[0])

    def _take(self, event: bytes) -> None:
        kind, data = b"message", []
        for line in event.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"event":
                kind = value.removeprefix(b" ")
            elif name == b"data":
                data.append(value.removeprefix(b" "))
        payload = b"\n".join(data)
        try:
            if kind == b"counts":
                self._counts(payload)
            elif kind == b"bye":
                self.bye = _BYE(payload).retry_after
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._room.faults.add(UNREADABLE, f"{payload[:200]!r} on connection {self.number}")

    def _counts(self, payload: bytes) -> None:
        room = self._room
        key = b"\0" + payload
        seen = room.known.get(key)
        if seen is None:
            message = _COUNTS(payload)
            item = room.numbers.get(message.item)
            if item is None:
                room.faults.add(NOT_WATCHED, f"{message.item} on connection {self.number}")
                return
            seen = Seen(item, message.version, message.counts, message.reset is True, now())
            room.learn(key, seen)
        self._within.append(seen)
        self.see(seen)
        if not self.up and all(shown is not NOTHING for shown in self.shown.values()):
            self.up = True
            room.ready(self)
