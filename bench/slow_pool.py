"""Many WebSocket connections to one server, for the load program in Python: ``pool.c`` once more, slower.

Owns sockets, the opening handshake and frames. Must not know what messages mean: those of a connection that
is ready go to ``heard``.
"""

import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A fixed key has a fixed answer (RFC 6455, section 1.3).
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SOURCES = 16
MASK = b"\x37\xfa\x21\x3d"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
CONNECTING, SHAKING, GREETING, READY, LOST = range(5)


@dataclass(slots=True)
class Opening:
    """How the connections of a group are opened; as in ``pool.h``."""

    count: int
    path: str
    items: int = 1
    window: int = 0
    protocol: str = ""
    hellos: Sequence[Sequence[bytes]] = ()
    ready: bytes = b""
    greetings: int = 1
    timeout: float = 30.0
    buffer: int = 0


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, with what the commands count of it."""

    group: int
    index: int
    opening: Opening
    sock: socket.socket
    state: int = CONNECTING
    held: bytes = b""
    unsent: bytes = b""
    greetings: int = 0
    sent: int = 0
    flight: int = 0
    seen: int = 0
    version: int = 0


class Pool:
    """All connections. ``heard`` gets every whole message of one that is ready."""

    def __init__(self, host: str, port: int, heard: Callable[[Connection, bytes], None]) -> None:
        self.groups: tuple[list[Connection], ...] = ([], [], [], [])
        self._server = (host, port)
        self._heard = heard
        self._poller = select.epoll()
        self._poller.register(sys.stdin.fileno(), select.EPOLLIN)
        self._by_descriptor: dict[int, Connection] = {}

    def ready(self, group: int) -> int:
        """How many connections of a group are ready."""
        return sum(connection.state == READY for connection in self.groups[group])

    def lost(self, *groups: int) -> int:
        """How many connections of these groups are lost."""
        return sum(connection.state == LOST for group in groups for connection in self.groups[group])

    def open(self, group: int, opening: Opening) -> None:
        """Open the connections of a group, in place of those that it has."""
        self.close(group)
        deadline = time.monotonic() + opening.timeout
        members = self.groups[group]
        while time.monotonic() < deadline:
            waiting = sum(connection.state not in (READY, LOST) for connection in members)
            room = min(opening.count - len(members), (opening.window or opening.count) - waiting)
            for _ in range(room):
                self._start(group, opening)
            if not waiting and not room:
                return
            self.turn(0.01)

    def close(self, group: int) -> None:
        """Close the connections of a group."""
        for connection in self.groups[group]:
            self._lose(connection)
        self.groups[group].clear()

    def listen(self, group: int, yes: bool) -> None:
        """Read what comes on the connections of a group, or leave it to the kernel."""
        for connection in self.groups[group]:
            if connection.state != LOST and yes:
                self._poller.register(connection.sock.fileno(), select.EPOLLIN)
            elif connection.state != LOST:
                self._poller.unregister(connection.sock.fileno())

    def send(self, connection: Connection, message: bytes) -> None:
        """Send a text message."""
        self._frame(connection, TEXT, message)

    def turn(self, seconds: float) -> bool:
        """Handle what happens within so many seconds; whether standard input has something."""
        asked = False
        for descriptor, events in self._poller.poll(seconds):
            connection = self._by_descriptor.get(descriptor)
            if connection is None:
                asked = asked or descriptor == sys.stdin.fileno()
            elif connection.state == CONNECTING:
                self._connected(connection)
            else:
                if events & select.EPOLLOUT:
                    self._drain(connection)
                if connection.state != LOST and events & ~select.EPOLLOUT:
                    self._readable(connection)
        return asked

    def _start(self, group: int, opening: Opening) -> None:
        members = self.groups[group]
        sock = socket.socket()
        connection = Connection(group, len(members), opening, sock)
        members.append(connection)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if opening.buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, opening.buffer)
        sock.bind((f"127.0.0.{2 + connection.index % SOURCES}", 0))
        self._by_descriptor[sock.fileno()] = connection
        self._poller.register(sock.fileno(), select.EPOLLOUT)
        sock.connect_ex(self._server)

    def _connected(self, connection: Connection) -> None:
        opening = connection.opening
        if connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lose(connection)
            return
        lines = [
            f"GET {opening.path.replace('$I', f'{connection.index % opening.items:03d}')} HTTP/1.1",
            f"Host: 127.0.0.1:{self._server[1]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Protocol: {opening.protocol}"] if opening.protocol else []),
        ]
        connection.state = SHAKING
        self._poller.modify(connection.sock.fileno(), select.EPOLLIN)
        self._put(connection, "\r\n".join([*lines, "", ""]).encode())

    def _readable(self, connection: Connection) -> None:
        try:
            got = connection.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self._lose(connection)
            return
        data = connection.held + got
        if connection.state == SHAKING:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                connection.held = head
                return
            self._shaken(connection, head)
        connection.held = self._frames(connection, data)

    def _shaken(self, connection: Connection, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
            self._lose(connection)
            return
        opening = connection.opening
        connection.state = GREETING if opening.ready else READY
        if opening.hellos:
            for message in opening.hellos[connection.index % len(opening.hellos)]:
                self.send(connection, message)

    def _frames(self, connection: Connection, data: bytes) -> bytes:
        """Handle the whole frames; the rest."""
        at = 0
        while connection.state != LOST and len(data) - at >= 2:
            head, length = 2, data[at + 1]
            if length == 126 and len(data) - at >= 4:
                head, length = 4, struct.unpack_from("!H", data, at + 2)[0]
            elif length == 127 and len(data) - at >= 10:
                head, length = 10, struct.unpack_from("!Q", data, at + 2)[0]
            elif length > 125:
                break
            if len(data) - at < head + length:
                break
            self._framed(connection, data[at], data[at + head : at + head + length])
            at += head + length
        return data[at:]

    def _framed(self, connection: Connection, first: int, payload: bytes) -> None:
        opcode, opening = first & 0xF, connection.opening
        if opcode == PING:
            self._frame(connection, PONG, payload)
        elif opcode == CLOSE or not first & 0x80:
            self._lose(connection)
        elif opcode != PONG and connection.state == READY:
            self._heard(connection, payload)
        elif opcode != PONG and payload.startswith(opening.ready):
            connection.greetings += 1
            if connection.greetings >= opening.greetings:
                connection.state = READY

    def _frame(self, connection: Connection, opcode: int, payload: bytes) -> None:
        length = len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | length))
            if length < 126
            else struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
        )
        key = (MASK * (length // 4 + 1))[:length]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
        self._put(connection, head + MASK + masked.to_bytes(length, "big"))

    def _put(self, connection: Connection, data: bytes) -> None:
        if connection.state == LOST:
            return
        if connection.unsent:
            connection.unsent += data
            return
        connection.unsent = data
        self._write(connection)
        if connection.unsent:
            self._poller.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _drain(self, connection: Connection) -> None:
        self._write(connection)
        if not connection.unsent and connection.state != LOST:
            self._poller.modify(connection.sock.fileno(), select.EPOLLIN)

    def _write(self, connection: Connection) -> None:
        try:
            connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._lose(connection)

    def _lose(self, connection: Connection) -> None:
        if connection.state == LOST:
            return
        connection.state = LOST
        del self._by_descriptor[connection.sock.fileno()]
        connection.state, connection.unsent = LOST, b""
        # A reset: no TIME_WAIT that the next round would run into.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sock.close()
