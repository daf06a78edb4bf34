"""HTTP on the wire: uvicorn's protocol on httptools, and where ours differs from it.

Owns the limits and errors below the application: a connection's place, how long its requests and answers
may take, and how many of them may wait. Must not know any endpoint.
"""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from websockets.datastructures import Headers
from websockets.http11 import Request

from tallycast.access.admission import RETRY_AFTER, Admission, ConnectionSlot
from tallycast.domain.addresses import UNIX, Client, Networks, client, owner
from tallycast.domain.base_path import strip
from tallycast.transport.http.head import BadHead, check_head, origin_form
from tallycast.transport.http.http10 import reset_on_close, without_chunks
from tallycast.transport.http.problems import CLIENT, PLACE, problem
from tallycast.transport.timer_wheel import TimerWheel
from tallycast.transport.websocket.protocol import STALL_AFTER, Socket

# 100 ids of 256 bytes, percent-encoded, are 77 KiB.
MAX_HEAD = 128 * 1024
# What else tells that a proxy passed a request on, though not whom to believe (RFC 7239, RFC 9110).
_PASSED_ON = frozenset((b"forwarded", b"x-real-ip", b"via"))
# Where an application finds the connection's transport in its scope.
TRANSPORT = "tallycast.transport"
# Bytes that are parsed at a time, and how many parsed requests may wait: one takes a hundred times the
# memory of its bytes.
PIECE, WAITING = 512, 8
# Connections that there is no place for are kept until they have asked for something, no more than these: the
# oldest goes, so that one that asks at once, as who checks the server's health does, has its answer.
SURPLUS = 1000


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the HTTP connections of a worker share.

    ``trusted`` are the proxies whose word on a client's address is taken, ``timers`` is the timer of all
    these connections, ``within`` (s) how long a request may take to come, ``base_path`` what is taken off
    their targets. ``unix``: they come by a Unix socket. ``surplus`` are those without a place, the oldest
    first.
    """

    trusted: Networks
    timers: "TimerWheel[Http]"
    within: float
    admission: Admission
    base_path: bytes = b"/"
    unix: bool = False
    surplus: dict["Http", None] = field(default_factory=dict)

    def evict_oldest(self, connection: "Http") -> None:
        """A connection has no place."""
        self.surplus[connection] = None
        if len(self.surplus) > SURPLUS:
            next(iter(self.surplus)).transport.abort()


class _Flow(FlowControl):
    """Uvicorn reads on whenever a request has been answered; this only when nothing is left to be parsed."""

    full = False

    def resume_reading(self) -> None:
        """Read on, if there is room."""
        if not self.full:
            super().resume_reading()


class Http(HttpToolsProtocol):
    """One HTTP connection."""

    # How many bytes of a head have come, as long as it is not complete.
    _head: int | None = 0
    # Since when the request that is coming is awaited; ``None``: it is here, or none has begun.
    _since: float | None = None
    # The request wants an upgrade to something that is not spoken here.
    _declined = False
    # A WebSocket is wanted as soon as all earlier requests have been answered.
    _upgrading = False
    # The server is draining: what is answered from here on ends the connection.
    _draining = False

    # What has come and is not parsed yet.
    _rest = b""
    # What is being answered, or was last.
    _running: RequestResponseCycle | None = None
    # How much of the answers waits, and since when it has been as much.
    _left = 0
    _stuck_since = 0.0
    flow: _Flow

    def __init__(self, context: HttpContext, *given: Any, **more: Any) -> None:
        """``given`` and ``more`` are uvicorn's."""
        super().__init__(*given, **more)
        self._context = context
        self._timers = context.timers
        self._slice = 0
        self._slot: ConnectionSlot

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there; its first request is awaited."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._since = self._timers.now
        self._slice = self._timers.join(self)
        self._slot = self._context.admission.enter(owner(self._peer, self._context.trusted))
        if not self._slot.counted:
            self._context.evict_oldest(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._timers.leave(self._slice, self)
        if self._slot.counted:
            self._context.admission.leave(self._slot.owner)
        else:
            self._context.surplus.pop(self, None)
        self._rest = b""
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)

    def on_tick(self, now: float) -> None:
        """About a second has passed: nobody is waited for who does not send, or does not read.

        Uvicorn waits for ever, which is all that an attacker needs who has many half-sent requests
        (Slowloris), or many answers that are not read.
        """
        left = self.transport.get_write_buffer_size()
        if left == 0 or left != self._left:
            self._stuck_since = now
        self._left = left
        if now - self._stuck_since > STALL_AFTER:
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
        """Bytes came."""
        self._unset_keepalive_if_required()
        if self._since is None and (self.cycle is None or self.cycle.response_complete):
            self._since = self._timers.now  # Whatever it is, it is no longer the pause between two requests.
        self._rest += data
        self._parse()

    def _parse(self) -> None:
        """Parse what has come, until enough of it waits to be answered."""
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
        """A head that does not end is not waited for: it would be kept in memory."""
        if self._head is not None and not self.transport.is_closing():
            self._head += size
            if self._head > MAX_HEAD:
                self._refuse(431, f"a request head has at most {MAX_HEAD} bytes")

    def on_response_complete(self) -> None:
        """A request has been answered: there is room for another."""
        super().on_response_complete()
        self._parse()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """A request's turn has come. Uvicorn tells the connection's end only to the last one that came."""
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
        """The request's head is here.

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
        more[TRANSPORT], more[CLIENT], more[PLACE] = self.transport, self._client(), self._slot
        self.url = url
        if (self._draining or self._slot.refusal is not None) and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is here as a whole, unless it is about to be read again."""
        if not self._declined:
            self._since = None
            super().on_message_complete()

    def shutdown(self) -> None:
        """The server is draining. A request may be on its way already: it is answered, and the last one.

        Uvicorn's own closes a connection that waits for its next request at once.
        """
        self._draining = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        """Whether the request is to become a WebSocket; HTTP/1.0 knows no upgrade (RFC 9110, section 7.8)."""
        return self.parser.get_http_version() != "1.0" and super()._should_upgrade()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over.

        Uvicorn writes the request out again as bytes for the WebSocket protocol to parse a second time; ours
        is given it as it is.
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
        self._timers.leave(self._slice, self)
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
        protocol = f"HTTP/{self.parser.get_http_version()}"
        request = Request(self.url.decode("latin-1"), headers, self.scope["method"], protocol)
        make = cast("type[Socket]", self.ws_protocol_class)
        given = {"config": self.config, "server_state": self.server_state, "app_state": self.app_state}
        socket = make(**given)  # type: ignore[arg-type]
        socket.owner = slot.owner
        transport = self.transport
        # The parser holds this object and this object the parser: nobody else would tell them apart.
        self.parser = None  # type: ignore[assignment]
        transport.set_protocol(socket)
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
        """Who the request came from."""
        said = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
        found = client(self._peer, said, self._context.trusted)
        passed_on = any(name in _PASSED_ON for name, _ in self.headers)
        return found._replace(forwarded=True) if passed_on else found

    def _begin_again(self) -> None:
        """Read the head again as one that wants no upgrade; its body follows.

        A server may ignore an Upgrade (RFC 9110, section 7.8), but httptools takes what follows the head for
        the other protocol's first bytes, and not for the body. Some HTTP clients offer HTTP/2 that way with
        every first request.
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

        Where this would be taken for the answer to an earlier request, or for a part of one, the connection
        is cut instead.
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
