"""A small HTTP/1.1 client with a pool of persistent connections, one request at a time on each (RFC 9112).

Owns its pool. httptools parses; a client of the usual kind costs a millisecond of CPU for each request, which
would be measured instead of the server's response. Does not depend on what is requested.
"""

import asyncio
import os
import ssl
from collections import deque
from typing import NamedTuple, cast

import httptools
import msgspec

from tallycast_load.client.target import Target

MAX_CONNECTIONS = 256
TIMEOUT = 30.0  # s


class Reply(NamedTuple):
    """A response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Request(NamedTuple):
    """A request. ``path`` includes the query."""

    method: str
    path: str
    token: str | None = None
    body: bytes = b""


class _Problem(msgspec.Struct):
    """The members of a problem (RFC 9457) that are shown."""

    code: str
    detail: str = ""


def describe_reply(reply: Reply) -> str:
    """An unexpected response in a few words."""
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{reply.status} {reply.body[:100]!r}"
    return f"{reply.status} {problem.code}: {problem.detail}".rstrip(": ")


def describe_error(error: OSError) -> str:
    """Why there is no response, in a few words."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timeout"
    if isinstance(error, ssl.SSLError):
        # Its number is OpenSSL's own, not the system's.
        reason = getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ")
        return f"no TLS: {reason.lower()}"
    # asyncio's text names the call that failed, the system's what is wrong.
    return os.strerror(error.errno).lower() if error.errno else str(error)


class HttpClient:
    """A client of one server. ``connections``: at most so many; further requests wait for a free one."""

    def __init__(self, target: Target, connections: int = MAX_CONNECTIONS) -> None:
        self._target = target
        self._tls = ssl.create_default_context() if target.tls else None
        self._max_connections = connections
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[_Connection | None]] = deque()

    async def send(self, request: Request, within: float = TIMEOUT) -> Reply:
        """Send a request. Returns the response; ``within`` in seconds.

        Raises:
            OSError: there is none: no connection, a broken one, or a timeout.
        """
        async with asyncio.timeout(within):
            connection = await self._acquire()
            try:
                reply, keep = await connection.send(self._head(request) + request.body)
            except BaseException:
                self._discard(connection)
                raise
            if keep:
                self._release(connection)
            else:
                self._discard(connection)
            return reply

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            self._discard(connection)

    def _head(self, request: Request) -> bytes:
        lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {self._target.authority}"]
        if request.token is not None:
            lines.append(f"Authorization: Bearer {request.token}")
        if request.body:
            lines.append("Content-Type: application/json")
        if request.body or request.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(request.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _acquire(self) -> "_Connection":
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection
                self._open.discard(connection)
            if len(self._open) + self._opening < self._max_connections:
                return await self._connect()
            waiter: asyncio.Future[_Connection | None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            released = await waiter
            if released is not None and released.usable:
                return released

    async def _connect(self) -> "_Connection":
        self._opening += 1
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection,
                self._target.address,
                self._target.port,
                ssl=self._tls,
                server_hostname=self._target.host if self._tls else None,
            )
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    def _release(self, connection: "_Connection") -> None:
        if not self._wake(connection):
            self._idle.append(connection)

    def _discard(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        connection.close()
        self._wake(None)

    def _wake(self, connection: "_Connection | None") -> bool:
        """Hand a connection, or the right to open one, to the first waiter. Returns whether there is one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False


class _Connection(asyncio.Protocol):
    """One persistent connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[tuple[Reply, bool]] | None = None
        self._parser: httptools.HttpResponseParser
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, data: bytes) -> tuple[Reply, bool]:
        """Send a request. Returns the response, and whether the connection can be used again."""
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body = {}, []
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._reply

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"expected an HTTP response: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionResetError("the server closed the connection"))

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            # An interim response, such as 103 (RFC 9110, section 15.2).
            self._headers, self._body = {}, []
            return
        waiting, self._reply = self._reply, None
        if waiting is not None and not waiting.done():
            reply = Reply(status, self._headers, b"".join(self._body))
            waiting.set_result((reply, self._parser.should_keep_alive()))

    def _fail(self, error: OSError) -> None:
        waiting, self._reply = self._reply, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
