"""A WebSocket connection: TCP and frames on one side, a session's whole messages on the other.

Owns flow control, the writes and the close, from the handshake on. Uvicorn hands the connection over at the
upgrade (``uvicorn.Config(ws=…)``); no task, queue, timer or parser belongs to an idle connection. Must not
know what a message means.

Writes go straight to the socket while it takes them. What it does not take waits in the transport, whose
high-water mark is zero: so "something waits" and "blocked" are the same, and a blocked peer is sent nothing
but answers until it has read what there is. The descriptor is forgotten before any close, because the next
connection may be given it.
"""

import asyncio
import os
from functools import partial
from typing import cast

import structlog
from websockets.http11 import Request

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.codec import JSON
from tallycast.contract.errors import BadItem, CloseCode, Refusal
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.fanout.topic import NO_FD, Topic
from tallycast.services.services import Rooms
from tallycast.session.session import Session
from tallycast.transport.http.query import Query
from tallycast.transport.stats import LOST
from tallycast.transport.websocket.broadcast import FdSubscriber
from tallycast.transport.websocket.handshake import Handshake, admit, answer
from tallycast.transport.websocket.parser import (
    BINARY,
    Answer,
    Binary,
    Event,
    Inbound,
    Text,
    TooManyFragments,
)

BEAT_AFTER = 25.0
STALL_AFTER = 15.0
CLOSE_WITHIN = 5.0

_log = structlog.get_logger("web")


class Socket(FdSubscriber, asyncio.Protocol):
    """One connection, from the upgrade request to the end of TCP. ``owner`` is who it counts for."""

    __slots__ = (
        "_descriptor",
        "_going",
        "_held",
        "_inbound",
        "_left",
        "_pending",
        "_rooms",
        "_sent_at",
        "_session",
        "_since",
        "_slice",
        "_spoke",
        "_stale",
        "_transport",
        "_working",
        "blocked",
        "owner",
    )

    def __init__(self, rooms: Rooms, config: object, server_state: object, app_state: object) -> None:
        super().__init__(JSON.index)
        self._rooms = rooms
        self._transport: asyncio.Transport
        self._descriptor = NO_FD
        self._stale: set[Topic] | None = None
        self._inbound = Inbound(rooms.parser)
        self._session: Session | None = None
        self._pending: list[bytes] | None = None
        self._slice = -1
        self._spoke = True
        self._sent_at = rooms.timers.now
        # Connecting, blocked or closing: since when, for the deadline that follows.
        self._since = rooms.timers.now
        # How much waited at the last visit, while blocked.
        self._left = 0
        self._held = self._working = self._going = False
        self.blocked = False
        self.owner: Client | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Uvicorn hands over the transport of the upgrade request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        if self._transport.get_write_buffer_size() and not self.blocked:
            self.pause_writing()  # Answers to earlier requests; the transport paused the protocol before.
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._slice = self._rooms.timers.join(self)

    def upgraded(self, request: Request, slot: ConnectionSlot, client: Client) -> None:
        """The upgrade request has come, from a client."""
        admitted = admit(request, self._rooms.guard)
        if isinstance(admitted, CloseCode):
            self._turn_away(request, slot, client, admitted)
            return
        handshake = answer(request, partial(self._enter, slot, client))
        if self._shake(handshake):
            self._open(*admitted, handshake)

    def _shake(self, handshake: Handshake) -> bool:
        """Answer the upgrade request; whether there is a WebSocket now."""
        self._put(handshake.data)
        if not handshake.accepted:
            self._end(None)
            self._transport.close()
        return handshake.accepted

    def _turn_away(self, request: Request, slot: ConnectionSlot, client: Client, code: CloseCode) -> None:
        """Refuse an upgrade for its site or origin: accept and close it, so that a page can read the code."""
        waits = self._rooms.admission.refuse_upgrade(slot, client)
        self.owner = None
        if self._shake(answer(request, lambda: None)):
            self.close(code)
            if not waits:
                self._transport.close()

    def _open(self, query: Query, site: Site, handshake: Handshake) -> None:
        """Start the session, unless the item is none of the site's or there is no room."""
        try:
            item = site.check_item(query.item) if query.items else None
        except BadItem:
            self.close(CloseCode.BAD_ITEM)
            return
        if handshake.crowded is not None:
            self.close(CloseCode.OVERLOADED)
            return
        self.wire = handshake.wire.index
        self._session = Session(self._rooms, self, site, handshake.wire)
        self._rooms.stats.open[self.wire] += 1
        self._update_fd()
        self._session.open(item)

    def data_received(self, data: bytes) -> None:
        """Bytes of frames came."""
        inbound = self._inbound
        payload = inbound.single(data)
        if payload is not None:
            self._message(payload, data[0] == BINARY)
            return
        events = inbound.receive(data)
        noise = inbound.frames - sum(isinstance(event, Text | Binary) for event in events)
        if noise and self._session is not None:
            self._session.noise(noise)
        for event in events:
            self._handle(event)
        if inbound.more is not self._working:
            self._working = inbound.more
            self._read_or_not()
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        """Look at what is left of the last bytes when others have had their turn, and answers are taken."""
        if self._inbound.more and not (self._going or self._held or self.blocked):
            self._going = True
            self._rooms.soon(self._go_on)

    def _go_on(self) -> None:
        self._going = False
        if self._inbound.more and not (self._held or self.blocked or self._transport.is_closing()):
            self.data_received(b"")

    def eof_received(self) -> None:
        """The peer will send no more; TCP is closed, RFC 6455 has no half-open connections."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        self._rooms.timers.leave(self._slice, self)
        self._rooms.admission.leave(self.owner)
        self._end(LOST)

    def pause_writing(self) -> None:
        """The peer does not keep up: it gets the latest when it does, and is not read meanwhile."""
        self.blocked = True
        self.fd = NO_FD
        self._since = self._rooms.timers.now
        self._read_or_not()

    def resume_writing(self) -> None:
        """The peer keeps up again."""
        self.blocked = False
        self._update_fd()
        self._read_or_not()
        self._go_on_soon()
        missed, self._stale = self._stale, None
        for topic in missed or ():
            topic.deliver_latest(self)

    # The drain

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        if self._session is not None:
            self._session.bye(retry_after)

    def leave(self) -> None:
        """Close when what the client asked for is done."""
        if self._session is not None:
            self._session.leave()

    def abort(self) -> None:
        """End at once, whatever still waits."""
        self._end(LOST)
        self._transport.abort()

    # The rounds

    def on_tick(self, now: float) -> None:
        """About a second has passed."""
        session = self._session
        if self._spoke:
            self._spoke = False
            self._sent_at = now
        if session is None:
            if now - self._since > CLOSE_WITHIN:
                self.abort()
        elif self.blocked:
            left = self._transport.get_write_buffer_size()
            if left < self._left:
                self._since = now  # It reads, however slowly.
            self._left = left
            if now - self._since > STALL_AFTER:
                # Nothing fits into the pipe now, but whoever wakes up within the next seconds learns why.
                self.close(CloseCode.STALLED)
        else:
            session.on_tick()
            if now - self._sent_at >= BEAT_AFTER:
                # An update leaves no note here that it was sent, its item does.
                self._sent_at = max(self._sent_at, session.swept_at())
            if now - self._sent_at >= BEAT_AFTER:
                session.beat()

    # The session's line

    def write(self, data: bytes) -> None:
        """Send ready-made frames, together with what else is written in this turn of the loop."""
        if self._pending is not None:
            self._pending.append(data)
        elif self._session is not None:
            self._pending = [data]
            self.fd = NO_FD
            self._rooms.coalescer.add(self)

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._held = True
        self._read_or_not()

    def resume_reading(self) -> None:
        """Read on, unless the peer does not read either."""
        self._held = False
        self._read_or_not()
        self._go_on_soon()

    def close(self, code: CloseCode) -> None:
        """Start the closing handshake; the rounds end it when the peer does not."""
        self.flush()
        frame = self._inbound.close(code)
        if frame:
            self._put(frame)
        self._end(code)

    # The hub's subscriber

    def deliver(self, frame: bytes) -> bool:
        """Write an update, together with what else is written in this turn, unless the peer is blocked."""
        if self.blocked:
            return False
        self.write(frame)
        return True

    def overflow(self, rest: bytes) -> None:
        """Send the rest of an update when there is room."""
        self._transport.write(rest)

    def mark_stale(self, topic: Topic) -> None:
        """Bring it when the peer keeps up again."""
        if self._stale is None:
            self._stale = set()
        self._stale.add(topic)

    # The outbox

    def flush(self) -> None:
        """Send what was written in this turn."""
        pending, self._pending = self._pending, None
        self._update_fd()
        if pending is not None and self._descriptor != NO_FD:
            self._put(pending[0] if len(pending) == 1 else b"".join(pending))

    # Inside

    def _enter(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        crowded = self._rooms.admission.assign(slot, client)
        self.owner = client
        return crowded

    def _handle(self, event: Event) -> None:
        match event:
            case Text(payload) | Binary(payload):
                self._message(payload, isinstance(event, Binary))
            case Answer(data, None):
                self._answer(data)
            case Answer(data, int(code)):
                self._last(data, code)
            case TooManyFragments():
                self.close(CloseCode.ABUSIVE)

    def _message(self, payload: bytes, binary: bool) -> None:
        session = self._session
        if session is None:
            return
        if binary or payload.isascii() or _is_utf8(payload):
            session.received(payload, binary)
        else:
            self.close(CloseCode.INVALID_DATA)

    def _answer(self, data: bytes) -> None:
        """Send what the protocol itself has to say, behind what was written before."""
        if self._pending is not None:
            self._pending.append(data)
        elif self._descriptor != NO_FD:
            self._put(data)

    def _last(self, data: bytes, code: int) -> None:
        """Send the protocol's last word, and end."""
        self.flush()
        if self._descriptor != NO_FD:
            self._put(data)
        else:
            # A message that came in one piece with this ended it here, without a close frame of its own
            # because the parser had come to this one already.
            self._transport.write(data)
        self._end(code)
        self._transport.close()

    def _put(self, data: bytes) -> None:
        """Send bytes: straight to the socket as long as it takes them, the rest through the transport."""
        self._spoke = True
        if not self.blocked:
            try:
                sent = os.write(self._descriptor, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # The peer is gone; the transport is about to find out.
            if sent == len(data):
                return
            data = data[sent:]
        self._transport.write(data)

    def _update_fd(self) -> None:
        """Whether an update can be written at once from here on."""
        waits = self.blocked or self._pending is not None or self._session is None
        self.fd = NO_FD if waits else self._descriptor

    def _end(self, code: int | None) -> None:
        """Nothing is taken or given any more, except the peer's half of the closing handshake.

        Only once, so that nothing the peer does makes the deadline for its half begin anew. ``code`` is the
        close code to count; ``None`` where there never was a WebSocket.
        """
        if self._descriptor == NO_FD and self._session is None:
            return
        self._descriptor = self.fd = NO_FD
        if code is not None:
            self._rooms.stats.closed[code] += 1
        self._pending = self._stale = None
        self._since = self._rooms.timers.now
        session, self._session = self._session, None
        if session is not None:
            self._rooms.stats.open[self.wire] -= 1
            session.gone()
        self._held = self.blocked = False
        self._read_or_not()
        self._go_on_soon()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        reading = not (self._held or self.blocked or self._working)
        if reading is not self._transport.is_reading():
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
