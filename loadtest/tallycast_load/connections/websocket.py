"""A WebSocket that watches items, at the least cost for each update.

Owns the WebSocket below a connection. The usual frame costs one look-up of its bytes, one comparison and one
clock: nothing is decoded that another connection of this process has decoded before. Does not depend on when
the connection is opened or closed, nor on when reactions are sent.
"""

import asyncio
import os
from collections.abc import Iterable
from time import monotonic_ns as now
from typing import cast

from tallycast.contract.messages import Ack, Auth, Bye, Counts, Error, Ready, ServerMessage, Watch, Watching
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tallycast_load.client import frames
from tallycast_load.client.codec import InvalidMessageError
from tallycast_load.connections.connection import Connection, ConnectionContext
from tallycast_load.measure.updates import NO_UPDATE, Update
from tallycast_load.measure.violations import ABNORMAL, CUT, NOT_WATCHED, UNREADABLE

# Ids and versions of so many items fit into one message.
ITEMS_PER_MESSAGE = 50
NO_CODE = 1005


class WebSocketConnection(Connection):
    """A WebSocket (RFC 6455)."""

    __slots__ = ("_close_code", "_core", "_fd", "_handshake", "_known", "_parts", "_unanswered")

    def __init__(
        self, context: ConnectionContext, number: int, items: Iterable[int], token: str | None, slow: bool
    ) -> None:
        super().__init__(context, number, items, token, slow)
        self._known = context.known
        self._handshake: ClientProtocol | None = None
        # websockets' parser, while something other than plain frames is in progress.
        self._core: Protocol | None = None
        self._parts: list[bytes] | None = None
        self._unanswered = 0
        self._close_code: int | None = None
        # Of the socket, where bytes may bypass the transport: not with TLS, not while closing.
        self._fd = -1

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the opening handshake."""
        self.transport = cast("asyncio.Transport", transport)
        self._close_code = None
        core = self._handshake = ClientProtocol(
            parse_uri(self._context.uri), subprotocols=[Subprotocol(self._context.codec.subprotocol)]
        )
        core.send_request(core.connect())
        self.transport.write(b"".join(core.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Handle bytes: usually one frame that the process knows and that is new to this connection."""
        update = self._known.get(data)
        if update is not None and self.fast_path:
            shown = self.shown
            if shown.get(update.item) is update.previous:
                shown[update.item] = update
                moment = now()
                update.received.append(moment)
                # A thousand frames may be ready at once; reactions that are due are sent in between.
                if moment > self._context.next_due:
                    self._context.send_due()
                return
            self.on_update(update)
        elif self._handshake is None:
            self._split(data)
        else:
            self._on_handshake_data(data)
        self._context.send_if_due()

    def eof_received(self) -> None:
        """The server sends no more; the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection, and why a handshake failed."""
        code = None if self.closing else (self._close_code or ABNORMAL)
        if self._handshake is not None and code is not None:
            self.failure = self.failure or CUT
        self._handshake = self._core = self._parts = None
        self._fd = -1
        self._unanswered = 0
        self._context.on_lost(self, code)

    # The run

    def disconnect(self, clean: bool) -> None:
        """Close the connection, with a close frame or without."""
        transport, self._fd = self.transport, -1
        if transport is not None:
            self.closing = True
            if clean and self.up:
                transport.write(frames.close_frame())
                transport.close()
            else:
                transport.abort()

    def send(self, message: bytes) -> None:
        """Send an encoded message at once, not at the end of this turn of the loop as the transport would."""
        if self.transport is None:
            return
        frame, sent = frames.masked(message, binary=self._context.codec.binary), 0
        if self._fd >= 0 and not self.transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, frame)
            except BlockingIOError:
                pass
            except OSError:
                return  # The connection is broken; the transport reports it.
        if sent < len(frame):
            self.transport.write(frame[sent:])

    def update_fast_path(self) -> None:
        """Set ``fast_path`` after a change of what it depends on."""
        super().update_fast_path()
        self.fast_path = self.fast_path and self._core is None

    # Inside

    def _on_handshake_data(self, data: bytes) -> None:
        self._rest += data
        head, end, self._rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            self._rest = head
            return
        core = self._handshake
        assert core is not None
        assert self.transport is not None
        core.receive_data(head + end)
        core.events_received()
        if core.handshake_exc is not None or core.state is not State.OPEN:
            self.failure = _handshake_failure(core)
            self.transport.abort()
            return
        self._handshake = None
        if self.transport.get_extra_info("sslcontext") is None:
            self._fd = self.transport.get_extra_info("socket").fileno()
        self._subscribe()
        rest, self._rest = self._rest, b""
        if rest:
            self._split(rest)

    def _subscribe(self) -> None:
        """Send ``auth`` and every ``watch`` at once; nothing needs to be awaited in between."""
        codec, names = self._context.codec, self._context.items
        self._unanswered = 0
        if self.token is not None:
            self._unanswered += 1
            self.send(codec.encode(Auth(self.token, ref=self._unanswered)))
        items = list(self.shown)
        for start in range(0, len(items), ITEMS_PER_MESSAGE):
            some = items[start : start + ITEMS_PER_MESSAGE]
            since = {
                names[item]: self.shown[item].version for item in some if self.shown[item] is not NO_UPDATE
            }
            self._unanswered += 1
            watch = Watch([names[item] for item in some], ref=self._unanswered)
            self.send(codec.encode(Watch(watch.items, since, watch.ref) if since else watch))

    def _split(self, data: bytes) -> None:
        """Split bytes into whole frames, and keep a partial one."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        while at < size:
            end = frames.end_of_frame(data, at)
            if end is None:
                break
            self._on_frame(data if at == 0 and end == size else data[at:end])
            at = end
        self._rest = data[at:]
        self.update_fast_path()

    def _on_frame(self, frame: bytes) -> None:
        update = self._known.get(frame)
        plain = frames.BINARY if self._context.codec.binary else frames.TEXT
        if update is not None and self._core is None:
            self.on_update(update)
        elif self._core is None and frame[0] == plain:
            self._on_payload(frames.payload(frame), frame)
        else:
            self._parse(frame)

    def _parse(self, frame: bytes) -> None:
        """Parse a ping, a close, a fragment or a violation with websockets' core."""
        core = self._core = self._core or Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        core.receive_data(frame)
        for event in core.events_received():
            self._on_event(cast("Frame", event))
        reply = b"".join(core.data_to_send())
        if reply and self.transport is not None:
            self.transport.write(reply)
        if core.parser_exc is not None:
            self._context.violations.add(UNREADABLE, f"{core.parser_exc} on connection {self.number}")
        if core.close_rcvd is not None:
            self._fd = -1
            self._close_code = core.close_rcvd.code
            if self._close_code == NO_CODE:
                self._close_code = ABNORMAL
        elif core.state is State.OPEN and not self._parts:
            self._core = None

    def _on_event(self, event: Frame) -> None:
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts = self._parts or []
            self._parts.append(bytes(event.data))
            if event.fin:
                message, self._parts = b"".join(self._parts), None
                # Rare, and rarely the same bytes twice: recognised by the payload alone.
                self._on_payload(message, b"\0" + message)

    def _on_payload(self, payload: bytes, key: bytes) -> None:
        try:
            message = self._context.codec.decode(payload)
        except InvalidMessageError as error:
            self._context.violations.add(UNREADABLE, f"{error.args[0]!r} on connection {self.number}")
            return
        if isinstance(message, Counts):
            self._on_counts(message, key)
        elif message is not None:
            self._on_message(message)

    def _on_counts(self, message: Counts, key: bytes) -> None:
        item = self._context.item_numbers.get(message.item)
        if item is None:
            self._context.violations.add(NOT_WATCHED, f"{message.item} on connection {self.number}")
            return
        update = Update(item, message.version, message.counts, message.reset is True, now())
        self._context.add_update(key, update)
        self.on_update(update)

    def _on_message(self, message: ServerMessage) -> None:
        match message:
            case Ack():
                self._context.on_ack(self, message)
            case Error():
                self._context.on_error(self, message)
            case Watching() | Ready():
                self._unanswered -= 1
                if self._unanswered == 0 and not self.up:
                    self.up = True
                    self._context.on_ready(self)
            case Bye():
                self.retry_after = message.retry_after


def _handshake_failure(core: ClientProtocol) -> str:
    """Why the opening handshake failed."""
    error = core.handshake_exc
    if isinstance(error, WebSocketException):
        return f"the upgrade was refused: {error}"
    return f"the response to the upgrade is not valid HTTP: {error}"
