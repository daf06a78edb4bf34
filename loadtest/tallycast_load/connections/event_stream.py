"""An event stream that watches items (``GET /v1/stream``), read as cheaply as a WebSocket.

Owns the HTTP below a connection: httptools parses it, except bytes that another stream of this process has
received before. They are recognised as a whole when they begin and end between two chunks (RFC 9112, section
7.1). Does not depend on when the connection is opened or closed.
"""

import asyncio
from collections.abc import Iterable
from time import monotonic_ns as now
from typing import cast

import httptools
import msgspec
from tallycast.contract.messages import Bye, Counts

from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Connection, ConnectionContext
from tallycast_load.measure.updates import NO_UPDATE, Update
from tallycast_load.measure.violations import ABNORMAL, NOT_WATCHED, UNREADABLE

# The close code that stands for a stream which ended after ``bye``.
RESTART = 1012
_COUNTS = msgspec.json.Decoder(Counts).decode
_BYE = msgspec.json.Decoder(Bye).decode


class EventStreamConnection(Connection):
    """An event stream (HTML standard, section 9.2)."""

    __slots__ = (
        "_between_chunks",
        "_in_chunk",
        "_known",
        "_parser",
        "_partial_event",
        "_request",
        "_updates",
    )

    def __init__(
        self, context: ConnectionContext, target: Target, number: int, items: Iterable[int], slow: bool
    ) -> None:
        super().__init__(context, number, items, None, slow)
        self._known = context.known
        path = target.path("/v1/stream", context.site, [context.items[item] for item in self.shown])
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        self._parser: httptools.HttpResponseParser | None = None
        # Between two chunks, with no partial event.
        self._between_chunks = False
        self._in_chunk = False
        self._partial_event = b""
        # The updates of the bytes that are being parsed.
        self._updates: list[Update] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._between_chunks = self._in_chunk = False
        # Every connection starts with a snapshot of each item, which replaces what was shown.
        self.shown = dict.fromkeys(self.shown, NO_UPDATE)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Handle bytes: usually one event that the process knows and that is new to this connection."""
        update = self._known.get(data) if self._between_chunks and self.up else None
        if update is None:
            self._parse(data)
        elif self.fast_path and self.shown.get(update.item) is update.previous:
            self.shown[update.item] = update
            moment = now()
            update.received.append(moment)
            if moment > self._context.next_due:
                self._context.send_due()
            return
        else:
            self.on_update(update)
        self._context.send_if_due()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection."""
        code = None if self.closing else RESTART if self.retry_after is not None else ABNORMAL
        self._parser = None
        self._partial_event = b""
        self._context.on_lost(self, code)

    # The run

    def disconnect(self, clean: bool) -> None:
        """Close the connection; a stream has no closing handshake."""
        if self.transport is not None:
            self.closing = True
            if clean:
                self.transport.close()
            else:
                self.transport.abort()

    # httptools

    def on_headers_complete(self) -> None:
        """Check the status."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status > 200:
            self.failure = f"GET /v1/stream was answered {status}"

    def on_chunk_header(self) -> None:
        """Note that a chunk begins."""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """Note that a chunk is complete."""
        self._in_chunk = False

    def on_body(self, body: bytes) -> None:
        """Split the text into whole events, and keep a partial one."""
        text = (self._partial_event + body).replace(b"\r\n", b"\n")
        *events, self._partial_event = text.split(b"\n\n")
        for event in events:
            self._on_event(event)

    # Inside

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        between_chunks, self._updates = self._between_chunks, []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._context.violations.add(UNREADABLE, f"{error} on connection {self.number}")
        if self.failure and self.transport is not None:
            self.transport.abort()
            return
        self._between_chunks = not self._in_chunk and not self._partial_event and data.endswith(b"\n")
        if between_chunks and self._between_chunks and len(self._updates) == 1:
            self._context.add_key(data, self._updates[0])

    def _on_event(self, event: bytes) -> None:
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
                self._on_counts(payload)
            elif kind == b"bye":
                self.retry_after = _BYE(payload).retry_after
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._context.violations.add(UNREADABLE, f"{payload[:200]!r} on connection {self.number}")

    def _on_counts(self, payload: bytes) -> None:
        context = self._context
        key = b"\0" + payload
        update = context.known.get(key)
        if update is None:
            message = _COUNTS(payload)
            item = context.item_numbers.get(message.item)
            if item is None:
                context.violations.add(NOT_WATCHED, f"{message.item} on connection {self.number}")
                return
            update = Update(item, message.version, message.counts, message.reset is True, now())
            context.add_update(key, update)
        self._updates.append(update)
        self.on_update(update)
        if not self.up and all(shown is not NO_UPDATE for shown in self.shown.values()):
            self.up = True
            context.on_ready(self)
