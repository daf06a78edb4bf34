"""A WebSocket connection: TCP and frames on one side, a session's whole messages on the other.

Owns the handshake, the frames (websockets' Sans-I/O core does RFC 6455), flow control and the close. Uvicorn
hands the connection over at the upgrade (``uvicorn.Config(ws=…)``); no task, queue or timer belongs to a
connection. Must not know what a message means.
"""

import asyncio
import random
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import structlog
from uvicorn.server import ServerState
from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from server.errors import BadItem, CloseCode, Forbidden, UnknownSite
from server.protocol.codec import BY_SUBPROTOCOL, JSON, MAX_MESSAGE, Wire
from server.rules.items import check_item
from server.rules.sites import Site
from server.web.query import Query
from server.web.rooms import Rooms
from server.web.session import Session

PATH = "/ws"
# Low, so that conflation acts before old counts fill a buffer.
HIGH_WATER = 16 * 1024
BEAT_AFTER = 25.0
STALL_AFTER = 15.0
CLOSE_WITHIN = 5.0
MAX_FRAGMENTS = 128

_log = structlog.get_logger("web")


class Socket(asyncio.Protocol):
    """One connection, from the upgrade request to the end of TCP."""

    __slots__ = (
        "_connections",
        "_core",
        "_fragments",
        "_held",
        "_opcode",
        "_rooms",
        "_sent_at",
        "_session",
        "_since",
        "_slice",
        "_transport",
        "blocked",
    )

    def __init__(self, rooms: Rooms, config: object, server_state: ServerState, app_state: object) -> None:
        self._rooms = rooms
        self._connections = cast("set[Any]", server_state.connections)
        self._core = ServerProtocol(select_subprotocol=_select, max_size=MAX_MESSAGE)
        self._transport: asyncio.Transport
        self._session: Session | None = None
        self._fragments: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._slice = -1
        self._sent_at = rooms.rounds.now
        # Connecting, blocked or closing: since when, for the deadline that follows.
        self._since = rooms.rounds.now
        self._held = False
        self.blocked = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Uvicorn hands over the transport of the upgrade request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._connections.add(self)
        self._slice = self._rooms.rounds.join(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came: the request first, then frames."""
        core = self._core
        core.receive_data(data)
        said = core.data_to_send()
        for event in core.events_received():
            if isinstance(event, Frame):
                if event.opcode is Opcode.PING:
                    # What the core has to say begins with the answers to pings, in their order.
                    self._transport.write(said.pop(0))
                else:
                    self._framed(event)
            elif isinstance(event, Request):
                self._requested(event)
        self._say(said)
        self._flush()

    def eof_received(self) -> None:
        """The peer will send no more; TCP is closed, RFC 6455 has no half-open connections."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        self._connections.discard(self)
        self._rooms.rounds.leave(self._slice, self)
        session, self._session = self._session, None
        if session is not None:
            session.gone()

    def pause_writing(self) -> None:
        """The peer does not keep up: it gets the latest when it does, and is not read meanwhile."""
        self.blocked = True
        self._since = self._rooms.rounds.now
        self._read_or_not()

    def resume_writing(self) -> None:
        """The peer keeps up again."""
        self.blocked = False
        self._read_or_not()
        if self._session is not None:
            self._session.drained()

    # Uvicorn

    def shutdown(self) -> None:
        """The server goes down."""
        if self._session is not None:
            self._session.bye(round(random.uniform(0.5, 3.0), 1))  # noqa: S311  jitter, not a secret
        self.close(CloseCode.RESTART)

    # The rounds

    def visit(self, now: float) -> None:
        """About a second has passed."""
        session = self._session
        if session is None:
            if now - self._since > CLOSE_WITHIN:
                self._transport.abort()
        elif self.blocked:
            if now - self._since > STALL_AFTER:
                # Nothing more fits into the pipe, a close frame neither.
                self._transport.abort()
        else:
            session.visit()
            if now - self._sent_at >= BEAT_AFTER:
                session.beat()

    # The session's line

    def write(self, data: bytes) -> None:
        """Send ready-made frames."""
        if data and self._session is not None:
            self._sent_at = self._rooms.rounds.now
            self._transport.write(data)

    def hold(self) -> None:
        """Read no more for now."""
        self._held = True
        self._read_or_not()

    def resume(self) -> None:
        """Read on, unless the peer does not read either."""
        self._held = False
        self._read_or_not()

    def close(self, code: CloseCode) -> None:
        """Start the closing handshake; the rounds end it when the peer does not."""
        if self._core.state is State.OPEN:
            self._core.send_close(code)
            self._flush()
        self._end()

    # Inside

    def _requested(self, request: Request) -> None:
        if request.path.partition("?")[0] != PATH:
            self._core.send_response(self._core.reject(HTTPStatus.NOT_FOUND, "WebSockets are at /ws.\n"))
            return
        response = self._core.accept(request)
        self._core.send_response(response)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        # An upgrade that is refused is accepted and closed, so that a page can read the code.
        try:
            site, item = self._admit(request)
        except UnknownSite:
            self.close(CloseCode.UNKNOWN_SITE)
        except Forbidden:
            self.close(CloseCode.BAD_ORIGIN)
        except BadItem:
            self.close(CloseCode.BAD_ITEM)
        else:
            self._flush()
            wire: Wire = BY_SUBPROTOCOL.get(self._core.subprotocol or "", JSON)
            self._session = Session(self._rooms, self, site, wire)
            self._session.open(item)

    def _admit(self, request: Request) -> tuple[Site, str | None]:
        query = Query(request.path.partition("?")[2].encode("latin-1"))
        site = self._rooms.guard.site(query.site)
        self._rooms.guard.origin(site, request.headers.get("Origin"))
        return site, check_item(query.item) if query.items else None

    def _framed(self, frame: Frame) -> None:
        session = self._session
        if session is None:
            return
        if frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._opcode = frame.opcode
            self._fragments = [bytes(frame.data)]
        else:
            return
        if not frame.fin:
            # The core bounds a message's size, but not how many fragments make it up.
            if len(self._fragments) > MAX_FRAGMENTS:
                self.close(CloseCode.ABUSIVE)
            return
        payload = b"".join(self._fragments)
        self._fragments = []
        binary = self._opcode is Opcode.BINARY
        if not binary and not _is_utf8(payload):
            self.close(CloseCode.INVALID_DATA)
            return
        session.received(payload, binary)

    def _flush(self) -> None:
        """Send what the core has to say now."""
        self._say(self._core.data_to_send())

    def _say(self, said: list[bytes]) -> None:
        """Answers to pings and closes, errors; an empty one ends the connection."""
        for data in said:
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
                self._end()

    def _end(self) -> None:
        """Nothing is taken or given any more; TCP has a deadline to close."""
        self._since = self._rooms.rounds.now
        session, self._session = self._session, None
        if session is not None:
            session.gone()
        # The peer's half of the closing handshake is still to be read.
        self._held = self.blocked = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        reading = not (self._held or self.blocked)
        if reading is not self._transport.is_reading():
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


def _select(core: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first offered subprotocol that is spoken here; none when none was offered."""
    for subprotocol in offered:
        if subprotocol in BY_SUBPROTOCOL:
            return subprotocol
    if offered:
        raise NegotiationError(f"this server speaks {' and '.join(BY_SUBPROTOCOL)}")
    return None


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
