"""A WebSocket connection: TCP and frames on one side, a session's whole messages on the other.

Owns flow control, the writes and the close, from the handshake on. Uvicorn hands the connection over at the
upgrade (``uvicorn.Config(ws=…)``); an idle connection has no task, queue, timer or parser of its own. Does
not depend on what a message means.

Writes go straight to the socket while it takes them. The rest waits in the transport, whose high-water mark
is zero: so "bytes wait" and "blocked" are the same, and a blocked peer is sent nothing but answers until it
has read those bytes. The descriptor is forgotten before any close, because the next connection may get it.
The figures ``memory``, ``reaction`` and ``slow`` of ``make bench`` are why it is written like this.
"""

import asyncio
import os
from functools import partial
from typing import cast

from websockets.http11 import Request

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.codec import JSON
from tallycast.contract.errors import BadItem, CloseCode, Refusal
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.fanout.topic import Topic
from tallycast.session.session import Session
from tallycast.transport.http.query import Query
from tallycast.transport.liveness import BEAT_AFTER, CLOSE_WITHIN, STALL_AFTER
from tallycast.transport.websocket.broadcast import NO_FD, FdSubscriber
from tallycast.transport.websocket.handshake import Handshake, admit, answer
from tallycast.transport.websocket.parser import (
    BINARY,
    Answer,
    Binary,
    Event,
    Inbound,
    Text,
    TooManyFragments,
    is_utf8,
    short_message,
)
from tallycast.transport.websocket.shared import LOST, WebSockets


class Socket(FdSubscriber, asyncio.Protocol):
    """One connection, from the upgrade request to the end of TCP. It counts for ``owner``."""

    __slots__ = (
        "_descriptor",
        "_inbound",
        "_pending",
        "_reading_paused",
        "_sent_at",
        "_session",
        "_shared",
        "_since",
        "_slice",
        "_stale",
        "_tcp",
        "_unsent_at_tick",
        "_wrote_since_tick",
        "blocked",
        "owner",
    )

    def __init__(self, shared: WebSockets, config: object, server_state: object, app_state: object) -> None:
        """All but ``shared`` are uvicorn's."""
        super().__init__(shared.transports[JSON])
        self._shared = shared
        self._tcp: asyncio.Transport
        self._descriptor = NO_FD
        self._stale: set[Topic] | None = None
        # Most connections never need it.
        self._inbound: Inbound | None = None
        self._session: Session | None = None
        self._pending: list[bytes] | None = None
        self._slice = -1
        self._wrote_since_tick = True
        self._sent_at = shared.timers.now
        # Since when it connects, is blocked or closes, for the deadline that follows.
        self._since = shared.timers.now
        self._unsent_at_tick = 0  # bytes, while blocked
        self._reading_paused = False
        self.blocked = False
        self.owner: Client | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Uvicorn hands over the transport of the upgrade request."""
        self._tcp = cast("asyncio.Transport", transport)
        self._tcp.set_write_buffer_limits(high=0)
        if self._tcp.get_write_buffer_size() and not self.blocked:
            self.pause_writing()  # Answers to earlier requests; the transport paused the HTTP protocol.
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._slice = self._shared.timers.add(self)

    def upgraded(self, request: Request, slot: ConnectionSlot, client: Client) -> None:
        """An upgrade request was received, from ``client``."""
        admitted = admit(request, self._shared.guard)
        if isinstance(admitted, CloseCode):
            self._reject(request, slot, client, admitted)
            return
        handshake = answer(request, partial(self._assign_slot, slot, client))
        if self._send_handshake(handshake):
            self._open(*admitted, handshake)

    def _send_handshake(self, handshake: Handshake) -> bool:
        """Answer the upgrade request. Returns whether it was accepted."""
        self._put(handshake.data)
        if not handshake.accepted:
            self._end(None)
            self._tcp.close()
        return handshake.accepted

    def _reject(self, request: Request, slot: ConnectionSlot, client: Client, code: CloseCode) -> None:
        """Refuse an upgrade for its site or origin: accept and close it, so that a page can read the code."""
        waits = self._shared.admission.refuse_upgrade(slot, client)
        self.owner = None
        if self._send_handshake(answer(request, lambda: None)):
            self.close(code)
            if not waits:
                self._tcp.close()

    def _open(self, query: Query, site: Site, handshake: Handshake) -> None:
        """Start the session, unless the item is not valid or there is no room."""
        try:
            item = site.check_item(query.item) if query.items else None
        except BadItem:
            self.close(CloseCode.BAD_ITEM)
            return
        if handshake.over_limit is not None:
            self.close(CloseCode.OVERLOADED)
            return
        self.transport = self._shared.transports[handshake.wire]
        self.transport.open += 1
        self._session = self._shared.open_session(self, site, handshake.wire)
        self._update_fd()
        self._session.open(item)

    def data_received(self, data: bytes) -> None:
        """Receive bytes of frames."""
        inbound = self._inbound
        if inbound is None or inbound.idle:
            payload = short_message(data)
            if payload is not None:
                self._message(payload, data[0] == BINARY)
                return
            if inbound is None:
                inbound = self._inbound = Inbound(self._shared.parser)
        events = inbound.receive(data)
        control_frames = inbound.frames - sum(isinstance(event, Text | Binary) for event in events)
        if control_frames and self._session is not None:
            self._session.queue.count_frames(control_frames)
        for event in events:
            self._handle(event)
        self._update_reading()
        self._parse_soon()

    def _parse_soon(self) -> None:
        """Parse the rest of the last bytes in a later turn of the loop, if the session takes messages."""
        inbound = self._inbound
        if inbound is None or self._reading_paused or self.blocked:
            return
        if inbound.more and not inbound.scheduled:
            inbound.scheduled = True
            self._shared.soon(self._parse_rest)

    def _parse_rest(self) -> None:
        inbound = self._inbound
        assert inbound is not None
        inbound.scheduled = False
        if inbound.more and not (self._reading_paused or self.blocked or self._tcp.is_closing()):
            self.data_received(b"")

    def eof_received(self) -> None:
        """End of the peer's bytes: TCP is closed, RFC 6455 has no half-open connections."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End of TCP."""
        self._shared.timers.remove(self._slice, self)
        self._shared.admission.remove_connection(self.owner)
        self._end(LOST)

    def pause_writing(self) -> None:
        """The peer does not keep up: it gets the latest counts when it does, and is not read until then."""
        self.blocked = True
        self.fd = NO_FD
        self._since = self._shared.timers.now
        self._update_reading()

    def resume_writing(self) -> None:
        """The peer keeps up again."""
        self.blocked = False
        self._update_fd()
        self._update_reading()
        self._parse_soon()
        stale, self._stale = self._stale, None
        for topic in stale or ():
            topic.deliver_latest(self)

    # The drain

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        if self._session is not None:
            self._session.bye(retry_after)

    def close_gracefully(self) -> None:
        """Close when the messages until now are answered."""
        if self._session is not None:
            self._session.close_gracefully()

    def abort(self) -> None:
        """End at once, without the bytes that wait."""
        self._end(LOST)
        self._tcp.abort()

    # The timer

    def on_tick(self, now: float) -> None:
        """About a second has passed."""
        session = self._session
        if self._wrote_since_tick:
            self._wrote_since_tick = False
            self._sent_at = now
        if session is None:
            if now - self._since > CLOSE_WITHIN:
                self.abort()
        elif self.blocked:
            unsent = self._tcp.get_write_buffer_size()
            if unsent < self._unsent_at_tick:
                self._since = now  # The peer reads, however slowly.
            self._unsent_at_tick = unsent
            if now - self._since > STALL_AFTER:
                # The close frame waits, too, but a peer that reads again within some seconds learns why.
                self.close(CloseCode.STALLED)
        else:
            session.on_tick()
            if now - self._sent_at >= BEAT_AFTER:
                # A broadcast does not update ``_sent_at``; the topic has its time.
                self._sent_at = max(self._sent_at, session.swept_at)
            if now - self._sent_at >= BEAT_AFTER:
                session.beat()

    # The connection of a session

    def write(self, data: bytes) -> None:
        """Send whole frames, joined with the other writes of this turn of the loop."""
        if self._pending is not None:
            self._pending.append(data)
        elif self._session is not None:
            self._pending = [data]
            self.fd = NO_FD
            self._shared.coalescer.add(self)

    def on_watching(self, items: int) -> None:
        """The number of watched items has changed."""
        self.watches_many = items > 1

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""
        self._reading_paused = True
        self._update_reading()

    def resume_reading(self) -> None:
        """Read again, unless the peer is blocked."""
        self._reading_paused = False
        self._update_reading()
        self._parse_soon()

    def close(self, code: CloseCode) -> None:
        """Start the closing handshake; the timer ends it when the peer does not."""
        self.flush()
        if self._inbound is None:
            self._inbound = Inbound(self._shared.parser)
        frame = self._inbound.close(code)
        if frame:
            self._put(frame)
        self._end(code)

    # The hub's subscriber

    def deliver(self, frame: bytes) -> bool:
        """Write an update, joined with the other writes of this turn, unless the peer is blocked."""
        if self.blocked:
            return False
        self.write(frame)
        return True

    def overflow(self, rest: bytes) -> None:
        """Send the rest of a frame when there is room."""
        self._tcp.write(rest)

    def mark_stale(self, topic: Topic) -> None:
        """Send the latest counts when the peer keeps up again."""
        if self._stale is None:
            self._stale = set()
        self._stale.add(topic)

    def flush(self) -> None:
        """Send the writes of this turn."""
        pending, self._pending = self._pending, None
        self._update_fd()
        if pending is not None and self._descriptor != NO_FD:
            self._put(pending[0] if len(pending) == 1 else b"".join(pending))

    def _assign_slot(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        over_limit = self._shared.admission.assign(slot, client)
        self.owner = client
        return over_limit

    def _handle(self, event: Event) -> None:
        match event:
            case Text(payload) | Binary(payload):
                self._message(payload, isinstance(event, Binary))
            case Answer(data, None):
                self._answer(data)
            case Answer(data, int(code)):
                self._send_final(data, code)
            case TooManyFragments():
                self.close(CloseCode.ABUSIVE)

    def _message(self, payload: bytes, binary: bool) -> None:
        session = self._session
        if session is None:
            return
        if binary or payload.isascii() or is_utf8(payload):
            session.queue.received(payload, binary)
        else:
            self.close(CloseCode.INVALID_DATA)

    def _answer(self, data: bytes) -> None:
        """Send a frame of the protocol itself, after the writes before it."""
        if self._pending is not None:
            self._pending.append(data)
        elif self._descriptor != NO_FD:
            self._put(data)

    def _send_final(self, data: bytes, code: int) -> None:
        """Send the last frame of the protocol, and end."""
        self.flush()
        if self._descriptor != NO_FD:
            self._put(data)
        else:
            # A message in the same read ended the session, without a close frame of its own, because the
            # parser had produced this one already.
            self._tcp.write(data)
        self._end(code)
        self._tcp.close()

    def _put(self, data: bytes) -> None:
        """Send bytes: straight to the socket as long as it takes them, the rest through the transport."""
        self._wrote_since_tick = True
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
        self._tcp.write(data)

    def _update_fd(self) -> None:
        """Note whether a broadcast can write to the socket from here on."""
        waits = self.blocked or self._pending is not None or self._session is None
        self.fd = NO_FD if waits else self._descriptor

    def _end(self, code: int | None) -> None:
        """Send and receive nothing more, except the peer's half of the closing handshake.

        Only once, so that the peer cannot extend the deadline of its half. ``code`` is the close code to
        count; ``None`` where the upgrade was refused.
        """
        if self._descriptor == NO_FD and self._session is None:
            return
        self._descriptor = self.fd = NO_FD
        if code is not None:
            self._shared.closed[code] += 1
        self._pending = self._stale = None
        self._since = self._shared.timers.now
        session, self._session = self._session, None
        if session is not None:
            self.transport.open -= 1
            session.close()
        self._reading_paused = self.blocked = False
        self._update_reading()
        self._parse_soon()

    def _update_reading(self) -> None:
        if self._tcp.is_closing():
            return
        behind = self._inbound is not None and self._inbound.more
        reading = not (self._reading_paused or self.blocked or behind)
        if reading is not self._tcp.is_reading():
            if reading:
                self._tcp.resume_reading()
            else:
                self._tcp.pause_reading()
