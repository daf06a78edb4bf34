"""A client that asks for much and reads nothing."""

import json
import socket
from urllib.parse import urlsplit

# More than the buffers of two kernels and of the server's transport have room for.
MESSAGES, ITEMS = 20, 25
_HEAD = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def stall(url: str) -> socket.socket:
    """A WebSocket connection on which the server cannot write any more."""
    address = urlsplit(url)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((address.hostname, address.port))
    deaf.sendall(_HEAD.encode())
    assert deaf.recv(4096).startswith(b"HTTP/1.1 101"), "the last thing that it reads"
    items = [f"{number:03}" + "x" * 250 for number in range(ITEMS)]
    message = json.dumps({"type": "watch", "items": items}).encode()
    # One masked text frame, its mask zero.
    frame = b"\x81\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message
    deaf.settimeout(0.5)
    try:
        deaf.sendall(frame * MESSAGES)
    except TimeoutError:
        pass  # It is not read any more either.
    return deaf
