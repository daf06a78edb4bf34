"""Answers without a known end: lines of JSON (NDJSON), made while they are read.

Owns what becomes of a reader that stalls, and of a source that fails in the middle. Must not know what the
lines are.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from tallycast.contract.errors import Refusal
from tallycast.transport.http.protocol import TRANSPORT
from tallycast.transport.websocket.protocol import STALL_AFTER


class NdjsonResponse(StreamingResponse):
    """``chunks`` are whole lines, each made when there is room for it.

    When it cannot go on, the connection is cut. Its last chunk is missing then (RFC 9112, section 7.1), and
    HTTP/1.0 sees a reset, so no client takes a part for the whole.
    """

    media_type = "application/x-ndjson"

    def __init__(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(chunks, 200, headers)
        self._transport: asyncio.Transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, unless the reader goes."""
        self._transport = scope[TRANSPORT]
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send chunk after chunk, waiting for room in between."""

        async def patiently(message: Message) -> None:
            async with asyncio.timeout(STALL_AFTER):
                await send(message)

        try:
            await super().stream_response(patiently)
        except (TimeoutError, Refusal):
            self._transport.abort()
            # The end of the connection ends this too.
            await anyio.sleep_forever()
