"""A reader of `GET /v1/stream`, written from the contract and from WHATWG HTML ("Server-sent events") alone.

A checker like `checked.Client`: each event is named after its object, the first `counts` of an item on a
connection replace what was shown, later ones have a higher version or `reset`, and nothing follows `bye`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from tests.client.checked import Shown
from tests.client.messages import DEADLINE, ZERO, Frame, Server, check_shape, demand, query

EVENTS = {"counts", "beat", "bye"}


class Parser:
    """Bytes in, events out: (type, data)."""

    def __init__(self) -> None:
        self.retry: int | None = None
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        self._rest += data
        *lines, self._rest = self._rest.replace(b"\r\n", b"\n").split(b"\n")
        return [event for line in lines if (event := self._line(line.decode())) is not None]

    def _line(self, line: str) -> tuple[str, str] | None:
        if not line:
            event = (self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "retry" and value.isdecimal():
            self.retry = int(value)
        return None


class Reader:
    """One open stream; `shown` is what a page would display."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.parser = Parser()
        self.frames: list[Frame] = []
        self.shown: dict[str, Shown] = {}
        self.over = False
        self._taken = 0
        self._broken: BaseException | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def next(self, within: float = DEADLINE) -> Frame:
        """The first object not yet taken."""

        def one_more() -> bool:
            return len(self.frames) > self._taken

        await self.until(one_more, within)
        self._taken += 1
        return self.frames[self._taken - 1]

    async def until(self, condition: Callable[[], object], within: float = DEADLINE) -> None:
        """Wait until what came makes the condition true."""
        try:
            async with asyncio.timeout(within):
                while True:
                    self.check()
                    if condition():
                        return
                    assert not self.over, f"the stream ended. Last: {self.frames[-8:]}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within} s. Last: {self.frames[-8:]}") from None

    async def until_shows(self, item: str, **counts: int) -> Shown:
        """Wait until the page shows these counts (kinds left out are 0)."""
        want = ZERO | counts
        await self.until(lambda: item in self.shown and self.shown[item].counts == want)
        return self.shown[item]

    async def ended(self, within: float = DEADLINE) -> None:
        """Wait for the server to end the stream in good order."""
        async with asyncio.timeout(within):
            await self._task
        self.check()

    def check(self) -> None:
        if self._broken is not None:
            raise self._broken

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for data in self.answer.aiter_bytes():
                for name, text in self.parser.feed(data):
                    self._take(name, text)
        except Exception as broken:
            self._broken = broken
        finally:
            self.over = True
            self._news.set()

    def _take(self, name: str, text: str) -> None:
        frame = json.loads(text)
        check_shape(frame)
        demand(name in EVENTS, "an event that the contract does not know", name)
        demand(frame["type"] == name, f"an event is named after its object, this is {name}", frame)
        demand(not self.frames or self.frames[-1]["type"] != "bye", "something after bye", frame)
        if name == "counts":
            before = self.shown.get(frame["item"])
            rises = before is None or frame["version"] > before.version or "reset" in frame
            demand(rises, f"versions rise ({before} before)", frame)
            self.shown[frame["item"]] = Shown(frame["version"], frame["counts"])
        self.frames.append(frame)
        self._news.set()


@asynccontextmanager
async def listen(
    server: Server, *items: str, headers: dict[str, str] | None = None, path: str | None = None
) -> AsyncIterator[Reader]:
    """An open stream of these items."""
    path = path or f"/v1/stream?{query(*items)}"
    async with (
        httpx.AsyncClient(
            base_url=server.url, trust_env=False, timeout=httpx.Timeout(DEADLINE, read=None)
        ) as client,
        client.stream("GET", path, headers={"Accept": "text/event-stream", **(headers or {})}) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
        assert "no-store" in answer.headers["cache-control"] or "no-cache" in answer.headers["cache-control"]
        reader = Reader(answer)
        try:
            yield reader
            reader.check()
        finally:
            await reader.close()
