"""HTTP on the wire: uvicorn's protocol on httptools, and where ours differs from it.

Owns the limits and errors below the application: the slot of a connection, the deadlines of its requests and
answers, and how many requests may wait. Does not depend on any endpoint.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from websockets.datastructures import Headers
from websockets.http11 import Request

from tallycast.access.admission import RETRY_AFTER, ConnectionSlot
from tallycast.domain.addresses import UNIX, Client, Networks, client, owner
from tallycast.domain.base_path import strip
from tallycast.transport.http.head import BadHead, check_head, origin_form
from tallycast.transport.http.http10 import reset_on_close, without_chunks
from tallycast.transport.http.problems import CLIENT, SLOT, problem
from tallycast.transport.liveness import STALL_AFTER
from tallycast.transport.timer_wheel import TimerWheel

# 100 ids of 256 bytes, percent-encoded, are 77 KiB.
MAX_HEAD = 128 * 1024
# Further headers of a proxy; the client's address is not read from them (RFC 7239, RFC 9110).
_FORWARDED = frozenset((b"forwarded", b"x-real-ip", b"via"))
# The key of the connection's asyncio transport in the scope of an application.
TRANSPORT = "tallycast.transport"
# Bytes that are parsed at a time, and parsed requests that may wait: one takes a hundred times the memory of
# its bytes.
PIECE, WAITING = 512, 8
# Connections without a slot are kept until their first request, but no more than these: the oldest is
# evicted, so that a client with an immediate request, like a health check, has its answer.
SURPLUS = 1000


class ConnectionAdmission(Protocol):
    """Counts connections; see ``access.admission.Admission``."""

    def add_connection(self, owner: Client | None) -> ConnectionSlot:
        """Count an accepted connection."""

    def remove_connection(self, owner: Client | None) -> None:
        """A counted connection has ended."""


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the HTTP connections of a worker share.

    Args:
        trusted: the proxies whose headers with the client's address are trusted.
        timers: the timer of all HTTP connections.
        within: the request read timeout (s).
        admission: counts connections.
        base_path: the prefix of all targets, which is stripped.
        unix: whether the connections are to a Unix socket.
        surplus: the connections without a slot, the oldest first.
    """

    trusted: Networks
    timers: "TimerWheel[Http]"
    within: float
    admission: ConnectionAdmission
    base_path: bytes = b"/"
    unix: bool = False
    surplus: dict["Http", None] = field(default_factory=dict)

    def add_surplus(self, connection: "Http") -> None:
        """Keep a connection without a slot; evict the oldest one when there are too many."""
        self.surplus[connection] = None
        if len(self.surplus) > SURPLUS:
            next(iter(self.surplus)).transport.abort()


class WebSocket(Protocol):
    """The protocol that a connection is handed over to at an upgrade."""

    owner: Client | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport of the connection."""

    def upgraded(self, request: Request, slot: ConnectionSlot, client: Client) -> None:
        """The upgrade request, from ``client``."""

    def data_received(self, data: bytes) -> None:
        """Bytes that followed the request."""


MakeWebSocket = Callable[..., WebSocket]


class _Flow(FlowControl):
    """Reads on only when nothing is left to be parsed; uvicorn's own does whenever a request was answered."""

    full = False

    def resume_reading(self) -> None:
        """Read on, if there is room."""
        if not self.full:
            super().resume_reading()


class Http(HttpToolsProtocol):
    """One HTTP connection."""

    # The bytes of an incomplete head; ``None``: the head is complete.
    _head: int | None = 0
    # Since when an incomplete request is awaited; ``None``: it is complete, or none has begun.
    _since: float | None = None
    # The request offers an upgrade to a protocol that is not supported.
    _declined = False
    # The connection becomes a WebSocket as soon as all earlier requests were answered.
    _upgrading = False
    # The server is draining: the next answer ends the connection.
    _draining = False

    # Bytes that are not parsed yet.
    _rest = b""
    # The request that is being answered, or was last.
    _running: RequestResponseCycle | None = None
    # The bytes of answers that wait, and since when they have not become fewer.
    _unsent_at_tick = 0
    _stalled_since = 0.0
    flow: _Flow

    def __init__(self, context: HttpContext, *args: Any, **kwargs: Any) -> None:
        """``args`` and ``kwargs`` are uvicorn's."""
        super().__init__(*args, **kwargs)
        self._context = context
        self._timers = context.timers
        self._slice = 0
        self._slot: ConnectionSlot

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection was accepted; its first request is awaited."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._since = self._timers.now
        self._slice = self._timers.add(self)
        self._slot = self._context.admission.add_connection(owner(self._peer, self._context.trusted))
        if not self._slot.counted:
            self._context.add_surplus(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End of the connection."""
        self._timers.remove(self._slice, self)
        if self._slot.counted:
            self._context.admission.remove_connection(self._slot.owner)
        else:
            self._context.surplus.pop(self, None)
        self._rest = b""
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)

    def on_tick(self, now: float) -> None:
        """About a second has passed: drop a client that does not send, or does not read.

        Uvicorn waits for ever, which an attacker can use with many incomplete requests (Slowloris), or many
        answers that are not read.
        """
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent_at_tick:
            self._stalled_since = now
        self._unsent_at_tick = unsent
        if now - self._stalled_since > STALL_AFTER:
            reset_on_close(self.transport, reset=True)
            self.transport.abort()
            return
        if self._since is None or now - self._since <= self._context.within or self.transport.is_closing():
            return
        if self._head is None and self.is_idle:
            self.transport.abort()  # The request has been answered, before all of its body was here.
        else:
            self._refuse(408, f"a request must come within {self._context.within:g} s", "request_timeout")

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        self._unset_keepalive_if_required()
        if self._since is None and (self.cycle is None or self.cycle.response_complete):
            self._since = self._timers.now  # The pause between two requests is over.
        self._rest += data
        self._parse()

    def _parse(self) -> None:
        """Parse the received bytes, until enough requests wait to be answered."""
        data, at = self._rest, 0
        while at < len(data) and self._has_room:
            piece = data[at : at + PIECE]
            at += len(piece)
            try:
                self.parser.feed_data(piece)
            except HttpParserError as error:
                self._refuse_head(error)
            except HttpParserUpgrade as upgrade:
                at -= len(piece) - upgrade.args[0]
                if self._declined:
                    self._begin_again()
                else:
                    self._upgrading = True
            else:
                self._check_head(len(piece))
        self._rest = b"" if self.transport.is_closing() else data[at:]
        self.flow.full = bool(self._rest) or self._upgrading
        if self._upgrading and self.is_idle:
            self.handle_websocket_upgrade()
        elif self.flow.full:
            self.flow.pause_reading()

    @property
    def _has_room(self) -> bool:
        """Whether another request may be parsed."""
        return not self._upgrading and len(self.pipeline) < WAITING and not self.transport.is_closing()

    def _check_head(self, size: int) -> None:
        """Refuse a head that does not end: it would be kept in memory."""
        if self._head is not None and not self.transport.is_closing():
            self._head += size
            if self._head > MAX_HEAD:
                self._refuse(431, f"a request head has at most {MAX_HEAD} bytes")

    def on_response_complete(self) -> None:
        """A request was answered: there is room for another."""
        super().on_response_complete()
        self._parse()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request. Uvicorn reports the end of the connection only to the last one received."""
        self._running = cycle
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(cycle, app)
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        if self._since is None:
            self._since = self._timers.now
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one of a trailer is dropped (RFC 9110, section 6.5.1).

        httptools calls this for both. A token behind the body would be taken for one of the head, which has
        been checked, and filtered by proxies.
        """
        if self._head is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head of a request is complete.

        httptools parses no URL beyond 64 KiB, but 100 ids of 256 bytes, percent-encoded, are 76 KiB of query.
        The query needs no parsing here, so it goes round httptools.

        Raises:
            BadHead: the request is refused.
        """
        wanted = bool(self.parser.should_upgrade())
        upgrade = wanted and self._should_upgrade()
        check_head(self.parser.get_http_version(), self.headers, upgrade=upgrade)
        self._declined = wanted and not upgrade
        if self._declined:
            return
        self._head = None
        url = strip(origin_form(self.url), self._context.base_path)
        self.url, _, query = url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query
        more = cast("dict[str, object]", self.scope)
        more[TRANSPORT], more[CLIENT], more[SLOT] = self.transport, self._client(), self._slot
        self.url = url
        if (self._draining or self._slot.refusal is not None) and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """A request is complete, unless it is about to be parsed again."""
        if not self._declined:
            self._since = None
            super().on_message_complete()

    def shutdown(self) -> None:
        """The server is draining. A request that is on its way is answered, as the last one.

        Uvicorn's own closes a connection between two requests at once.
        """
        self._draining = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        """Whether the request asks for a WebSocket; HTTP/1.0 has no upgrade (RFC 9110, section 7.8)."""
        return self.parser.get_http_version() != "1.0" and super()._should_upgrade()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over.

        Uvicorn serializes the request again, for the WebSocket protocol to parse it a second time; here it is
        handed over as it is.
        """
        slot = self._slot
        if self.transport.is_closing():
            return
        if not slot.counted:
            self._refuse(503, str(slot.refusal), "unavailable", {"Retry-After": f"{RETRY_AFTER:.0f}"})
            return
        self._unset_keepalive_if_required()
        self.flow.full = False
        self.flow.resume_reading()
        self.connections.discard(self)
        self._timers.remove(self._slice, self)
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
        protocol = f"HTTP/{self.parser.get_http_version()}"
        request = Request(self.url.decode("latin-1"), headers, self.scope["method"], protocol)
        make = cast("MakeWebSocket", self.ws_protocol_class)
        socket = make(config=self.config, server_state=self.server_state, app_state=self.app_state)
        socket.owner = slot.owner
        transport = self.transport
        # The parser holds this object and this object the parser: a cycle that would outlive the connection.
        self.parser = None  # type: ignore[assignment]
        transport.set_protocol(cast("asyncio.Protocol", socket))
        socket.connection_made(transport)
        socket.upgraded(request, slot, self._client())
        if self._rest and not transport.is_closing():
            socket.data_received(self._rest)

    @property
    def _peer(self) -> str:
        if self.client:
            return self.client[0]
        return UNIX if self._context.unix else ""

    def _client(self) -> Client:
        """The client that sent the request."""
        forwarded = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
        found = client(self._peer, forwarded, self._context.trusted)
        proxied = any(name in _FORWARDED for name, _ in self.headers)
        return found._replace(forwarded=True) if proxied else found

    def _begin_again(self) -> None:
        """Parse the head again without its upgrade; the body follows.

        A server may ignore an Upgrade (RFC 9110, section 7.8), but httptools takes the bytes after the head
        for the other protocol's, and not for the body. Some HTTP clients offer HTTP/2 that way with every
        first request.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        if method == b"CONNECT":
            self._refuse(405, "this is no proxy", "method_not_allowed", {"Allow": "GET"})
            return
        head = [method + b" " + self.url + b" HTTP/" + version]
        head += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser.feed_data(b"\r\n".join([*head, b"", b""]))

    def _refuse_head(self, error: HttpParserError) -> None:
        """Refuse a request that httptools cannot parse, or whose head was refused in its callback."""
        cause = error.__context__
        if isinstance(cause, BadHead):
            self._refuse(cause.status, str(cause))
        else:
            self._refuse(400, "this is not HTTP")

    def _refuse(
        self, status: int, detail: str, code: str = "bad_message", headers: dict[str, str] | None = None
    ) -> None:
        """Answer below the application, in the form of every other error, and close.

        Where this could be mistaken for the answer to an earlier request, or for a part of one, the
        connection is aborted instead.
        """
        if not self.is_idle:
            waits = self._head is None and self.cycle is self._running and not self.cycle.response_started
            if not waits:
                self.transport.abort()
                return
        answer = problem(status, code, detail, {"Connection": "close", **(headers or {})})
        head = [b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())]
        head += [b"%s: %s\r\n" % header for header in answer.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()
