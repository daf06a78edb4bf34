"""Answers to HTTP/1.0 clients, which know no chunks (RFC 9112, section 6.3): the end of the connection ends
them.

nginx asks its upstreams that way unless it is configured otherwise. Does not depend on any endpoint.
"""

import asyncio
import socket
import struct

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def without_chunks(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """An application whose answers on ``cycle`` have a length, or end with the connection.

    Until the whole of an answer without a length was sent, any end of the connection is a reset, so that a
    client does not take a part for the whole.
    """
    # An HTTP/1.0 client does not wait for a 100 and would take it for the answer (RFC 9110, section 10.1.1).
    cycle.waiting_for_100_continue = False
    unbounded = False

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            nonlocal unbounded
            if message["type"] == "http.response.start":
                unbounded = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if unbounded:
                    cycle.chunked_encoding = False
                    reset_on_close(cycle.transport, reset=True)
            elif unbounded:
                # Uvicorn compares what is sent with what was announced, and nothing was.
                cycle.expected_content_length = len(message.get("body", b""))
                if not message.get("more_body", False):
                    reset_on_close(cycle.transport, reset=False)
            await send(message)

        await app(scope, receive, sent)

    return answered


def reset_on_close(transport: asyncio.Transport, *, reset: bool) -> None:
    """Whether closing the connection sends RST, and drops what was not sent, or FIN."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
