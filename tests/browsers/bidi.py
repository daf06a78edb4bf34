"""A connection that speaks WebDriver BiDi (w3c.github.io/webdriver-bidi): commands and their results.

Events are not subscribed to. Does not depend on a browser.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect


class BidiError(Exception):
    """A command that the browser refused."""


class Bidi:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str) -> Self:
        bidi = cls(await connect(f"{url}/session", max_size=None, proxy=None, ping_interval=None))
        await bidi.command("session.new", capabilities={})
        return bidi

    async def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result.

        Raises:
            BidiError: with the browser's reason, or when the connection is gone.
        """
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return await self._waiting[number]

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if not (future := self._waiting.pop(message.get("id") or 0, None)):
                continue
            if message["type"] == "success":
                future.set_result(message["result"])
            else:
                future.set_exception(BidiError(f"{message['error']}: {message['message']}"))
        for future in self._waiting.values():
            future.set_exception(BidiError("the connection was closed"))
