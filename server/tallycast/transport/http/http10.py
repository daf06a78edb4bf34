"""Responses to HTTP/1.0 clients, which do not support chunks (RFC 9112, section 6.3).

Owns the framing of a response without Content-Length: it ends with the connection. nginx sends HTTP/1.0 to
its upstreams unless it is configured otherwise. Does not depend on any endpoint.
"""

import asyncio
import socket
import struct

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def without_chunks(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """An application whose responses on ``cycle`` have a Content-Length, or end with the connection.

    Until a response without a length is complete, closing the connection resets it, so that a client does not
    mistake a part for the whole.
    """
    # An HTTP/1.0 client would mistake a 100 for the final response (RFC 9110, section 10.1.1).
    cycle.waiting_for_100_continue = False
    unbounded = False

    async def unchunked(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unchunked(message: Message) -> None:
            nonlocal unbounded
            if message["type"] == "http.response.start":
                unbounded = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if unbounded:
                    cycle.chunked_encoding = False
                    reset_on_close(cycle.transport, reset=True)
            elif unbounded:
                # Uvicorn compares the body with an announced length, and there is none.
                cycle.expected_content_length = len(message.get("body", b""))
                if not message.get("more_body", False):
                    reset_on_close(cycle.transport, reset=False)
            await send(message)

        await app(scope, receive, send_unchunked)

    return unchunked


def reset_on_close(transport: asyncio.Transport, *, reset: bool) -> None:
    """Set whether closing the connection sends RST, and drops unsent data, or FIN."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
