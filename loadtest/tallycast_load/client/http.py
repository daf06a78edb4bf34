"""A small HTTP/1.1 client: connections that are kept, one request at a time on each (RFC 9112).

Owns its pool. httptools parses; a client of the usual kind costs a millisecond of CPU for each request,
which would be the load and not the server's answer to it. Must not know what is asked for.
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
TIMEOUT = 30.0


class Reply(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Request(NamedTuple):
    """What to ask for. ``path`` holds the query too."""

    method: str
    path: str
    token: str | None = None
    body: bytes = b""


class _Problem(msgspec.Struct):
    """What is of interest in an error (RFC 9457)."""

    code: str
    detail: str = ""


def told(reply: Reply) -> str:
    """What an answer says that is not the one hoped for."""
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{reply.status} {reply.body[:100]!r}"
    return f"{reply.status} {problem.code}: {problem.detail}".rstrip(": ")


def why(error: OSError) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        # Its number is OpenSSL's own, not the system's.
        told = getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ")
        return f"no TLS: {told.lower()}"
    # The words of asyncio name the call that failed, those of the system what is wrong.
    return os.strerror(error.errno).lower() if error.errno else str(error)


class Http:
    """``connections``: how many at once, at most; who comes when all are busy waits for the next one."""

    def __init__(self, target: Target, connections: int = MAX_CONNECTIONS) -> None:
        self._target = target
        self._tls = ssl.create_default_context() if target.tls else None
        self._most = connections
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[_Connection | None]] = deque()

    async def ask(self, request: Request, within: float = TIMEOUT) -> Reply:
        """The server's answer.

        Raises:
            OSError: there is none: no connection, a broken one, or not in time.
        """
        async with asyncio.timeout(within):
            connection = await self._free()
            try:
                reply, keep = await connection.ask(self._head(request) + request.body)
            except BaseException:
                self._drop(connection)
                raise
            if keep:
                self._give(connection)
            else:
                self._drop(connection)
            return reply

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            self._drop(connection)

    def _head(self, request: Request) -> bytes:
        lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {self._target.authority}"]
        if request.token is not None:
            lines.append(f"Authorization: Bearer {request.token}")
        if request.body:
            lines.append("Content-Type: application/json")
        if request.body or request.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(request.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _free(self) -> "_Connection":
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection
                self._open.discard(connection)
            if len(self._open) + self._opening < self._most:
                return await self._connect()
            future: asyncio.Future[_Connection | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            given = await future
            if given is not None and given.usable:
                return given

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

    def _give(self, connection: "_Connection") -> None:
        if not self._wake(connection):
            self._idle.append(connection)

    def _drop(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        connection.close()
        self._wake(None)

    def _wake(self, connection: "_Connection | None") -> bool:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[Reply, bool]] | None = None
        self._parser: httptools.HttpResponseParser
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, data: bytes) -> tuple[Reply, bool]:
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body = {}, []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not an HTTP answer: {error}"))

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
            # Such as 103: the answer is still to come (RFC 9110, section 15.2).
            self._headers, self._body = {}, []
            return
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            reply = Reply(status, self._headers, b"".join(self._body))
            answer.set_result((reply, self._parser.should_keep_alive()))

    def _fail(self, error: OSError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
