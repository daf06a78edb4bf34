"""A server that says exactly what a test makes it say, frame by frame.

For what a real server does too rarely to wait for: late acks, restored backups, goodbyes. Owns the page's
sockets and its request for a visitor. Must not have opinions: it answers no message by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, WebSocketRoute

from .tabs import PATIENCE, Widget, host

ORIGIN = "http://tally.test"
EMBED = Path(__file__).parents[2] / "static" / "embed.js"


class ScriptedServer:
    """The other end of every socket that the page opens."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.visitors = 0
        self.bearers: list[str | None] = []
        self._sockets: asyncio.Queue[WebSocketRoute] = asyncio.Queue()
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._socket: WebSocketRoute | None = None

    async def install(self) -> None:
        await self.page.route_web_socket(re.compile(r"^ws://tally\.test/ws"), self._opened)
        await self.page.route(f"{ORIGIN}/embed.js", self.embed)
        await self.install_visitors()

    async def install_visitors(self) -> None:
        await self.page.route("**/v1/visitors*", self._visitor)

    async def open(self, item: str = "a") -> Widget:
        """Load a page with one widget, and answer its first watch with nothing but zeros."""
        await host(self.page, ORIGIN, f'<live-reactions item="{item}"></live-reactions>')
        await self.connection()
        watch = await self.receive("watch")
        self.counts(item, 0, like=0, dislike=0)
        self.say("watching", ref=watch["ref"])
        widget = Widget(self.page.locator("live-reactions"))
        await widget.shows(like=0, dislike=0)
        return widget

    async def connection(self) -> WebSocketRoute:
        """The next socket that the page opens."""
        self._socket = await asyncio.wait_for(self._sockets.get(), PATIENCE)
        return self._socket

    @property
    def unanswered_connections(self) -> int:
        return self._sockets.qsize()

    @property
    def unread(self) -> list[str]:
        """The kinds of the messages that came and were not read yet."""
        return [self._received.get_nowait()["type"] for _ in range(self._received.qsize())]

    async def receive(self, kind: str) -> dict[str, Any]:
        """The next message of this kind. What comes before it must be something else, and is dropped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._received.get()
                if message["type"] == kind:
                    return message

    def say(self, kind: str, **fields: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps({"type": kind, **fields}))

    def counts(self, item: str, version: int, *, like: int, dislike: int, **fields: Any) -> None:
        self.say("counts", item=item, version=version, counts={"like": like, "dislike": dislike}, **fields)

    def ack(self, react: dict[str, Any], version: int, *, like: int, dislike: int) -> None:
        echoed = {field: react[field] for field in ("ref", "item", "reaction")}
        self.say("ack", **echoed, version=version, counts={"like": like, "dislike": dislike})

    async def beat(self) -> None:
        """Say something, and see that it arrives before the page's time goes on."""
        self.say("beat")
        await self.page.evaluate(
            """() => new Promise((tell) => {
              const { port1, port2 } = new MessageChannel();
              port1.onmessage = tell;
              port2.postMessage(0);
            })"""
        )

    @property
    def socket(self) -> WebSocketRoute | None:
        """The one that it talks on."""
        return self._socket

    async def close(self, code: int | None = None) -> None:
        assert self._socket is not None
        await self._socket.close(code=code)

    def _opened(self, socket: WebSocketRoute) -> None:
        socket.on_message(lambda message: self._received.put_nowait(json.loads(message)))
        self._sockets.put_nowait(socket)

    async def embed(self, route: Route) -> None:
        await route.fulfill(path=EMBED, content_type="text/javascript")

    async def _visitor(self, route: Route) -> None:
        self.bearers.append(route.request.headers.get("authorization"))
        self.visitors += 1
        body = {"visitor": "a:x", "token": f"token-{self.visitors}", "expires": 4_000_000_000}
        await route.fulfill(status=201, json=body)
