"""HTTP on the wire: uvicorn's protocol on httptools, and where ours differs from it.

Owns the limits and errors below the application. Must not know any endpoint.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request

from server.rules.addresses import Client, Networks, client
from server.web.problems import CLIENT, problem
from server.web.rounds import Rounds
from server.web.socket import Socket

# 100 ids of 256 bytes, percent-encoded, are 77 KiB.
MAX_HEAD = 128 * 1024
# What else tells that a proxy passed a request on, though not whom to believe (RFC 7239, RFC 9110).
_PASSED_ON = frozenset((b"forwarded", b"x-real-ip", b"via"))
# Where an application finds the connection's transport in its scope.
TRANSPORT = "tallycast.transport"


class Http(HttpToolsProtocol):
    """One HTTP connection."""

    # How many bytes of a head have come, as long as it is not complete.
    _head: int | None = 0
    # Since when the request that is coming is awaited; ``None``: it is here, or none has begun.
    _since: float | None = None
    # The request wants an upgrade to something that is not spoken here.
    _declined = False
    # The server is draining: what is answered from here on ends the connection.
    _draining = False

    def __init__(
        self, trusted: Networks, rounds: "Rounds[Http]", within: float, *given: Any, **more: Any
    ) -> None:
        """``trusted`` are the proxies whose word on a client's address is taken; the rest is uvicorn's.

        ``rounds`` is the timer of all such connections, ``within`` (s) how long a request may take to come.
        """
        super().__init__(*given, **more)
        self._trusted = trusted
        self._rounds = rounds
        self._within = within
        self._slice = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there; its first request is awaited."""
        super().connection_made(transport)
        self._since = self._rounds.now
        self._slice = self._rounds.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._rounds.leave(self._slice, self)
        super().connection_lost(exc)

    def visit(self, now: float) -> None:
        """About a second has passed: a request that does not come to its end is not waited for.

        Uvicorn waits for ever, which is all that an attacker with many half-sent requests needs (Slowloris).
        """
        if self._since is None or now - self._since <= self._within or self.transport.is_closing():
            return
        if self._head is not None and (self.cycle is None or self.cycle.response_complete):
            self._refuse(408, f"a request must come within {self._within:g} s", "request_timeout")
        else:
            self.transport.abort()  # In the middle of something, where no answer would be understood.

    def data_received(self, data: bytes) -> None:
        """Bytes came. A head that does not end is not waited for: it would be kept in memory."""
        self._unset_keepalive_if_required()
        if self._since is None and (self.cycle is None or self.cycle.response_complete):
            self._since = self._rounds.now  # Whatever it is, it is no longer the pause between two requests.
        rest = memoryview(data)
        while rest and not self.transport.is_closing():
            try:
                self.parser.feed_data(rest)
                break
            except HttpParserError:
                self.send_400_response("this is not HTTP")
                break
            except HttpParserUpgrade as upgrade:
                if not self._declined:
                    self.handle_websocket_upgrade()
                    break
                rest = rest[upgrade.args[0] :]
                self._begin_again()
        if self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, f"a request head has at most {MAX_HEAD} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        if self._since is None:
            self._since = self._rounds.now
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The request's head is here.

        httptools parses no URL beyond 64 KiB, but 100 ids of 256 bytes, percent-encoded, are 76 KiB of query.
        The query needs no parsing here, so it goes round httptools.
        """
        self._head = None
        self._declined = bool(self.parser.should_upgrade()) and not self._should_upgrade()
        if self._declined:
            return
        url = self.url
        self.url, _, query = url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query
        more = cast("dict[str, object]", self.scope)
        more[TRANSPORT], more[CLIENT] = self.transport, self._client()
        self.url = url
        if self._draining and self.cycle is not None:
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

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over.

        Uvicorn writes the request out again as bytes for the WebSocket protocol to parse a second time; ours
        is given it as it is.
        """
        self.connections.discard(self)
        self._rounds.leave(self._slice, self)
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
        protocol = f"HTTP/{self.parser.get_http_version()}"
        request = Request(self.url.decode("latin-1"), headers, self.scope["method"], protocol)
        make = cast("type[Socket]", self.ws_protocol_class)
        given = {"config": self.config, "server_state": self.server_state, "app_state": self.app_state}
        socket = make(**given)  # type: ignore[arg-type]
        socket.client = cast("Any", self.scope)[CLIENT]
        transport = self.transport
        # The parser holds this object and this object the parser: nobody else would tell them apart.
        self.parser = None  # type: ignore[assignment]
        transport.set_protocol(socket)
        socket.connection_made(transport)
        socket.upgraded(request)

    def _client(self) -> Client:
        """Who the request came from."""
        said = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
        found = client(self.client[0] if self.client else "", said, self._trusted)
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

    def send_400_response(self, msg: str) -> None:
        """Not HTTP."""
        self._refuse(400, msg)

    def _refuse(
        self, status: int, detail: str, code: str = "bad_message", headers: dict[str, str] | None = None
    ) -> None:
        """Answer below the application, in the form of every other error, and close."""
        answer = problem(status, code, detail, {"Connection": "close", **(headers or {})})
        head = [b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())]
        head += [b"%s: %s\r\n" % header for header in answer.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()
