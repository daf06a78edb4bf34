"""Sending as fast as it goes, on plain blocking sockets. Must not know what is sent."""

import base64
import os
import socket
import time
from urllib.parse import urlsplit

from tests.support.process import ServerProcess


def opened(
    server: ServerProcess, path: str = "/ws", *, receive_buffer: int | None = None, more: str = ""
) -> socket.socket:
    """A connection that has shaken hands; ``more`` are header lines."""
    address = urlsplit(server.url)
    line = socket.socket()
    if receive_buffer is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    line.settimeout(30)
    line.connect((address.hostname, address.port))
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{more}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return line


def pour(line: socket.socket, data: bytes, within: float) -> int:
    """Send as much as is taken, for so long (s) without any being taken; how much that was."""
    line.settimeout(within)
    sent, view = 0, memoryview(data)
    try:
        while sent < len(data):
            sent += line.send(view[sent : sent + 65536])
    except OSError:
        pass  # Nobody takes it any more, one way or another.
    return sent


def close_code(line: socket.socket, within: float = 30.0) -> int | None:
    """Read to the close frame; its code, ``None`` when the end came without one."""
    deadline, data = time.monotonic() + within, b""
    try:
        while time.monotonic() < deadline:
            line.settimeout(max(0.01, deadline - time.monotonic()))
            piece = line.recv(65536)
            if not piece:
                break
            data += piece
            if (code := _code(data)) is not None:
                return code
        else:
            raise AssertionError("the connection did not end")
    except TimeoutError:
        raise AssertionError("the connection did not end") from None
    except ConnectionError:
        pass
    return None


def _code(data: bytes) -> int | None:
    """The code of the close frame in these frames."""
    at = 0
    while at + 2 <= len(data):
        size, start = data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2]), start + 2
        if data[at] & 0x0F == 8 and start + 2 <= len(data):
            return int.from_bytes(data[start : start + 2])
        at = start + size
    return None
