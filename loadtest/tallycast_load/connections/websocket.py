"""One connection that watches: what it shows, and the cheapest way to keep that true.

Owns what a reader shows (``Reader``), and the WebSocket below it (``Watcher``). The usual frame costs one
look-up of its bytes, one comparison and one clock: nothing is decoded that another connection of this
process has decoded before. Must not know why it is opened, dropped or told to react.
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
from tallycast_load.client.codec import UnreadableError
from tallycast_load.connections.connection import Reader, Room
from tallycast_load.measure.updates import NOTHING, Seen
from tallycast_load.measure.violations import ABNORMAL, CUT, NOT_WATCHED, UNREADABLE

# Ids and versions of so many items fit into one message.
ITEMS_A_MESSAGE = 50
NO_CODE = 1005


class Watcher(Reader):
    """A WebSocket."""

    __slots__ = ("_asked", "_close", "_core", "_descriptor", "_handshake", "_known", "_parts")

    def __init__(
        self, room: Room, number: int, items: Iterable[int], token: str | None, sleepy: bool
    ) -> None:
        super().__init__(room, number, items, token, sleepy)
        self._known = room.known
        self._handshake: ClientProtocol | None = None
        # websockets' parser, while something is under way that is not one plain frame.
        self._core: Protocol | None = None
        self._parts: list[bytes] | None = None
        self._asked = 0
        self._close: int | None = None
        # Of the socket, where bytes may be written to it past the transport: not with TLS, not while closing.
        self._descriptor = -1

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS, are there: ask for the upgrade."""
        self.transport = cast("asyncio.Transport", transport)
        self._close = None
        core = self._handshake = ClientProtocol(
            parse_uri(self._room.uri), subprotocols=[Subprotocol(self._room.speech.subprotocol)]
        )
        core.send_request(core.connect())
        self.transport.write(b"".join(core.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Bytes came: usually one frame, known to this process, and news to this connection."""
        seen = self._known.get(data)
        if seen is not None and self.usual:
            shown = self.shown
            if shown.get(seen.item) is seen.previous:
                shown[seen.item] = seen
                moment = now()
                seen.times.append(moment)
                # A thousand frames may be ready at once; what is due leaves in between.
                if moment > self._room.due:
                    self._room.ring()
                return
            self.see(seen)
        elif self._handshake is None:
            self._take(data)
        else:
            self._greet(data)
        self._room.pulse()

    def eof_received(self) -> None:
        """The server will send no more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        code = None if self.leaving else (self._close or ABNORMAL)
        if self._handshake is not None and code is not None:
            self.why = self.why or CUT
        self._handshake = self._core = self._parts = None
        self._descriptor = -1
        self._asked = 0
        self._room.ended(self, code)

    # The run

    def leave(self, polite: bool) -> None:
        """Go: with a close frame or without."""
        transport, self._descriptor = self.transport, -1
        if transport is not None:
            self.leaving = True
            if polite and self.up:
                transport.write(frames.goodbye())
                transport.close()
            else:
                transport.abort()

    def say(self, message: bytes) -> None:
        """Send an encoded message: now, not at the end of this turn of the loop, when the transport would."""
        if self.transport is None:
            return
        frame, sent = frames.masked(message, binary=self._room.speech.binary), 0
        if self._descriptor >= 0 and not self.transport.get_write_buffer_size():
            try:
                sent = os.write(self._descriptor, frame)
            except BlockingIOError:
                pass
            except OSError:
                return  # The server is gone; the transport is about to find out.
        if sent < len(frame):
            self.transport.write(frame[sent:])

    def look(self) -> None:
        """Find out whether anything is unusual about it."""
        super().look()
        self.usual = self.usual and self._core is None

    # Inside

    def _greet(self, data: bytes) -> None:
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
            self.why = _reason(core)
            self.transport.abort()
            return
        self._handshake = None
        if self.transport.get_extra_info("sslcontext") is None:
            self._descriptor = self.transport.get_extra_info("socket").fileno()
        self._introduce()
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest)

    def _introduce(self) -> None:
        """Say who it is, and what it wants to watch; nothing needs to be awaited in between."""
        speech, names = self._room.speech, self._room.items
        self._asked = 0
        if self.token is not None:
            self._asked += 1
            self.say(speech.say(Auth(self.token, ref=self._asked)))
        items = list(self.shown)
        for start in range(0, len(items), ITEMS_A_MESSAGE):
            some = items[start : start + ITEMS_A_MESSAGE]
            since = {
                names[item]: self.shown[item].version for item in some if self.shown[item] is not NOTHING
            }
            self._asked += 1
            watch = Watch([names[item] for item in some], ref=self._asked)
            self.say(speech.say(Watch(watch.items, since, watch.ref) if since else watch))

    def _take(self, data: bytes) -> None:
        """Take the bytes apart into whole frames."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        while at < size:
            end = frames.end_of_frame(data, at)
            if end is None:
                break
            self._frame(data if at == 0 and end == size else data[at:end])
            at = end
        self._rest = data[at:]
        self.look()

    def _frame(self, frame: bytes) -> None:
        seen = self._known.get(frame)
        if seen is not None and self._core is None:
            self.see(seen)
        elif self._core is None and frame[0] == (frames.BINARY if self._room.speech.binary else frames.TEXT):
            self._message(frames.payload(frame), frame)
        else:
            self._unusual(frame)

    def _unusual(self, frame: bytes) -> None:
        """A ping, a close, a fragment or a mistake: websockets' core knows what to do."""
        core = self._core = self._core or Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        core.receive_data(frame)
        for event in core.events_received():
            self._event(cast("Frame", event))
        said = b"".join(core.data_to_send())
        if said and self.transport is not None:
            self.transport.write(said)
        if core.parser_exc is not None:
            self._room.faults.add(UNREADABLE, f"{core.parser_exc} on connection {self.number}")
        if core.close_rcvd is not None:
            self._descriptor = -1
            self._close = core.close_rcvd.code
            if self._close == NO_CODE:
                self._close = ABNORMAL
        elif core.state is State.OPEN and not self._parts:
            self._core = None

    def _event(self, event: Frame) -> None:
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts = self._parts or []
            self._parts.append(bytes(event.data))
            if event.fin:
                message, self._parts = b"".join(self._parts), None
                # Rare, and rarely the same bytes twice: recognised by the payload alone.
                self._message(message, b"\0" + message)

    def _message(self, payload: bytes, key: bytes) -> None:
        try:
            message = self._room.speech.read(payload)
        except UnreadableError as error:
            self._room.faults.add(UNREADABLE, f"{error.args[0]!r} on connection {self.number}")
            return
        if isinstance(message, Counts):
            self._counts(message, key)
        elif message is not None:
            self._other(message)

    def _counts(self, message: Counts, key: bytes) -> None:
        item = self._room.numbers.get(message.item)
        if item is None:
            self._room.faults.add(NOT_WATCHED, f"{message.item} on connection {self.number}")
            return
        seen = Seen(item, message.version, message.counts, message.reset is True, now())
        self._room.learn(key, seen)
        self.see(seen)

    def _other(self, message: ServerMessage) -> None:
        match message:
            case Ack():
                self._room.acked(self, message)
            case Error():
                self._room.refused(self, message)
            case Watching() | Ready():
                self._asked -= 1
                if self._asked == 0 and not self.up:
                    self.up = True
                    self._room.ready(self)
            case Bye():
                self.bye = message.retry_after


def _reason(core: ClientProtocol) -> str:
    """Why an upgrade was not granted."""
    error = core.handshake_exc
    if isinstance(error, WebSocketException):
        return f"the upgrade was refused: {error}"
    return f"no answer to the upgrade that could be read: {error}"
