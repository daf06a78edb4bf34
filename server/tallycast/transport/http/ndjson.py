"""Streamed responses of JSON lines (NDJSON).

Owns backpressure, and the abort when the client stalls or the source fails. Does not depend on the content of
the lines.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from tallycast.contract.errors import Refusal
from tallycast.transport.http.protocol import TRANSPORT
from tallycast.transport.liveness import STALL_AFTER


class NdjsonResponse(StreamingResponse):
    """A streamed response; ``chunks`` are whole lines, each read when the client has room for it.

    On a failure the connection is aborted: without the last chunk (RFC 9112, section 7.1), or with a reset in
    HTTP/1.0, so that no client mistakes a part for the whole.
    """

    media_type = "application/x-ndjson"

    def __init__(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(chunks, 200, headers)
        self._transport: asyncio.Transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response until it is complete or the client disconnects."""
        self._transport = scope[TRANSPORT]
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the chunks, each within ``STALL_AFTER`` seconds."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALL_AFTER):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except (TimeoutError, Refusal):
            self._transport.abort()
            # Starlette cancels this when the connection has ended.
            await anyio.sleep_forever()
