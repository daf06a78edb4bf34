"""WebSocket connections to a server under test, for coroutines and for blocking code.

Owns what a test can do on a connection: ask and wait for messages as JSON, and, for hostile tests, send any
bytes, stop reading, and see single frames. RFC 6455 itself is the `websockets` library's. Does not depend on
the contract, except that a message has a `type` and that an answer repeats the `ref` of its question.
"""

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as asyncio_connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection as SyncConnection
from websockets.sync.client import connect as sync_connect
from websockets.uri import parse_uri

# For what comes at once from a server that works, on a machine that is busy (s).
DEADLINE = 40.0

Message = dict[str, Any]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """A frame, valid or not: `opcode` may be a reserved one, `rsv` are the reserved bits as a number."""
    data = bytearray(Frame(Opcode.TEXT, payload).serialize(mask=mask))
    data[0] = (0x80 if fin else 0) | rsv << 4 | opcode
    return bytes(data)


def fragments(opcode: int, parts: Sequence[bytes]) -> list[bytes]:
    """A message in fragments."""
    last = len(parts) - 1
    return [frame(opcode if i == 0 else Opcode.CONT, part, fin=i == last) for i, part in enumerate(parts)]


def close_frame(code: int | None, reason: bytes = b"") -> bytes:
    """A close frame, with any code."""
    return frame(Opcode.CLOSE, b"" if code is None else code.to_bytes(2) + reason)


def _matches(message: Message, fields: Message) -> bool:
    return fields.items() <= message.items()


class Connection(ClientConnection):
    """One connection in an event loop."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.bytes_received = 0
        self._frames: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._ref = 0

    # ------------------------------------------------------------------------------------ messages

    async def ask(self, kind: str, /, **fields: Any) -> Message:
        """Send a message with a `ref`, and wait for its answer; what comes before that is dropped."""
        self._ref += 1
        message = {"type": kind, "ref": self._ref, **fields}
        await self.send(json.dumps(message))
        return await self.next(ref=message["ref"])

    async def next(self, kind: str | None = None, /, **fields: Any) -> Message:
        """The next message of that type and with these fields; what comes before it is dropped."""
        wanted = fields if kind is None else {"type": kind, **fields}
        async with asyncio.timeout(DEADLINE):
            while not _matches(message := json.loads(await self.recv()), wanted):
                pass
        return dict(message)

    # --------------------------------------------------------------------------------- frames, bytes

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(data)
        await self.drain()

    async def pour(self, data: bytes, within: float) -> int:
        """Send as much as is taken, until nothing is for so long (s); how much that was."""
        sent, view = 0, memoryview(data)
        while sent < len(data) and not self.transport.is_closing():
            self.transport.write(view[sent : sent + 65536])
            sent = min(sent + 65536, len(data))
            if not await self._taken(within):
                break
        return sent - self.transport.get_write_buffer_size()

    async def _taken(self, within: float) -> bool:
        while True:
            before = self.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(within):
                    await self.drain()
            except TimeoutError:
                if self.transport.get_write_buffer_size() < before:
                    continue
                return False
            except OSError:
                return False
            return True

    async def next_frame(self) -> tuple[int, bytes]:
        """The next frame, of any kind: opcode and payload. Raises `ConnectionClosed` at the end."""
        async with asyncio.timeout(DEADLINE):
            if (found := await self._frames.get()) is None:
                self._frames.put_nowait(None)
                raise self.protocol.close_exc
        return found

    async def closed(self) -> int | None:
        """Wait for the end; the code that the server closed with, `None` when it ended without one."""
        async with asyncio.timeout(DEADLINE):
            await self.wait_closed()
        closed = self.protocol.close_rcvd
        return None if closed is None else closed.code

    async def refused(self) -> int | None:
        """The code that a new connection is closed with at once, `None` when it is let in."""
        try:
            await self.send('{"type":"ping"}')
            await self.recv()
        except ConnectionClosed:
            return await self.closed()
        return None

    def pause(self) -> None:
        """Read no more."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self.transport.resume_reading()

    def abort(self) -> None:
        """End it without a closing handshake."""
        self.transport.abort()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self.transport.is_closing() and not self.transport.is_reading():
            # The answer to a close frame would not be read.
            self.abort()
        await super().close(code, reason)

    # ---------------------------------------------------------------------------------- the library's

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        super().data_received(data)

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if isinstance(event, Frame):
            self._frames.put_nowait((event.opcode, bytes(event.data)))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._frames.put_nowait(None)


def connect(url: str, *, receive_buffer: int | None = None, **options: Any) -> Any:
    """A `Connection`, to be awaited or entered; it offers compression, as browsers do.

    `receive_buffer` is the size (bytes) of the kernel's; other options are those of the library.
    """
    if receive_buffer is not None:
        options["sock"] = _connected(url, receive_buffer)
    defaults = {"proxy": None, "max_queue": None, "ping_interval": None, "open_timeout": 60}
    return asyncio_connect(url, create_connection=Connection, **defaults, **options)


class BlockingConnection(SyncConnection):
    """One connection, with a thread that reads."""

    _ref = 0

    def ask(self, kind: str, /, **fields: Any) -> Message:
        """Send a message with a `ref`, and wait for its answer; what comes before that is dropped."""
        return self.next(ref=self.post(kind, **fields))

    def post(self, kind: str, /, **fields: Any) -> Any:
        """Send a message with a `ref`; that `ref`."""
        self._ref += 1
        message = {"type": kind, "ref": self._ref, **fields}
        self.send(json.dumps(message))
        return message["ref"]

    def next(self, kind: str | None = None, /, **fields: Any) -> Message:
        """The next message of that type and with these fields; what comes before it is dropped."""
        return self.until(kind, **fields)[-1]

    def until(self, kind: str | None = None, /, **fields: Any) -> list[Message]:
        """All messages up to the next of that type and with these fields."""
        wanted = fields if kind is None else {"type": kind, **fields}
        messages: list[Message] = []
        while not messages or not _matches(messages[-1], wanted):
            messages.append(json.loads(self.recv(timeout=DEADLINE)))
        return messages

    def closed(self) -> int | None:
        """Read to the end; the code that the server closed with, `None` when it ended without one."""
        try:
            while True:
                self.recv(timeout=DEADLINE)
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


def connect_blocking(url: str, **options: Any) -> Any:
    """A `BlockingConnection`."""
    return sync_connect(url, create_connection=BlockingConnection, proxy=None, **options)


def stall(url: str) -> socket.socket:
    """A connection that asks for much and reads nothing: the server at `url` cannot write on it any more."""
    protocol = ClientProtocol(parse_uri(f"{url.replace('http', 'ws', 1)}/ws"))
    protocol.send_request(protocol.connect())
    stalled = _connected(url, 4096)
    stalled.sendall(b"".join(protocol.data_to_send()))
    assert stalled.recv(4096).startswith(b"HTTP/1.1 101"), "the last that it reads"
    # More than the buffers of two kernels and of the server's transport have room for.
    items = [f"{number:03}" + "x" * 250 for number in range(25)]
    stalled.settimeout(0.5)
    try:
        stalled.sendall(frame(Opcode.TEXT, json.dumps({"type": "watch", "items": items}).encode()) * 20)
    except TimeoutError:
        pass  # It is not read any more either.
    return stalled


def _connected(url: str, receive_buffer: int) -> socket.socket:
    """A TCP connection; the buffer's size holds from its handshake on."""
    address = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        sock.connect((address.hostname, address.port))
    except OSError:
        sock.close()
        raise
    return sock
