"""Visitors that react as fast as they are answered, watchers of it all, and what must be true afterwards.

Owns the bookkeeping: what was acknowledged, what was under way when something broke, what is shown. Knows
only the public contract, and the membership that the engine stores.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from tests.client.tokens import bearer, visitor_token
from tests.client.websocket import Connection, connect
from tests.ledger.support import membership, raw
from tests.support.waiting import eventually

KINDS = ("like", "dislike")
PENDING = (*KINDS, None)
WINDOW = 8
# How long a watcher waits before it connects anew (s).
AGAIN = 0.05

Shown = dict[str, tuple[int, dict[str, int]]]


@dataclass
class Visitor:
    """One person on one socket, with up to ``WINDOW`` reactions under way; with a ``pause`` one at a time."""

    token: str
    acked: dict[str, str | None] = field(default_factory=dict)
    under_way: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    acks: int = 0
    refusals: int = 0
    # The longest that an answer took (s), whatever it was.
    longest: float = 0.0
    refs: int = 0
    _sent: dict[int, float] = field(default_factory=dict)

    async def react(
        self, ws_url: str, items: list[str], chance: random.Random, pause: float, *, again: bool
    ) -> None:
        """React until the connection ends; ``again``: on the next one then, until cancelled."""
        while True:
            # What an earlier connection left under way may or may not have taken effect.
            self.refused.update(item for item, _ in self.under_way.values())
            self.under_way.clear()
            try:
                async with connect(f"{ws_url}/ws") as socket:
                    await socket.send(json.dumps({"type": "auth", "token": self.token}))
                    while True:
                        while len(self.under_way) < (1 if pause else WINDOW):
                            await self._react(socket, chance.choice(items), chance.choice(PENDING))
                        self._receive(json.loads(await socket.recv()))
                        if pause and not self.under_way:
                            await asyncio.sleep(pause)
            except (WebSocketException, OSError):
                if not again:
                    return
            await asyncio.sleep(AGAIN)

    def possible(self, item: str) -> set[str | None]:
        """What may be stored for this visitor: what was acknowledged last, or what came after that.

        A reaction that was refused as ``unavailable`` may have taken effect as well.
        """
        later = {wanted for ref, (name, wanted) in self.under_way.items() if name == item}
        if item in self.refused:
            return set(PENDING)
        return {self.acked.get(item), *later}

    async def _react(self, socket: Connection, item: str, wanted: str | None) -> None:
        self.refs += 1
        self.under_way[self.refs] = (item, wanted)
        self._sent[self.refs] = time.monotonic()
        message = {"type": "react", "item": item, "reaction": wanted, "ref": self.refs}
        await socket.send(json.dumps(message))

    def _receive(self, message: dict[str, object]) -> None:
        ref = message.get("ref")
        if not isinstance(ref, int):
            return
        item, wanted = self.under_way.pop(ref)
        self.longest = max(self.longest, time.monotonic() - self._sent.pop(ref))
        if message["type"] == "ack":
            self.acks += 1
            self.acked[item] = wanted
            # Answers come in the order of the reactions: what was refused before is overtaken by this.
            self.refused.discard(item)
        else:
            assert message["code"] == "unavailable", message
            self.refusals += 1
            self.refused.add(item)


class Crowd:
    """Visitors and items, and the oracle over them."""

    def __init__(self, visitors: int, items: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self.items = [f"item/{i}" for i in range(items)]
        self._size = visitors
        self.visitors: list[Visitor] = []

    @property
    def acks(self) -> int:
        """How many reactions were acknowledged so far."""
        return sum(visitor.acks for visitor in self.visitors)

    async def arrive(self, url: str) -> None:
        """Every visitor gets an identity."""
        async with httpx.AsyncClient(base_url=url) as http:
            for _ in range(self._size):
                self.visitors.append(Visitor(await visitor_token(http)))

    def start(self, ws_url: str, pause: float = 0.0, *, again: bool = False) -> "list[asyncio.Task[None]]":
        """All visitors react, until their connection ends or they are cancelled.

        With a ``pause`` (s) after each answer it is a steady rate; ``again``: they come back.
        """
        return [
            asyncio.create_task(
                visitor.react(ws_url, self.items, random.Random(self._chance.random()), pause, again=again)
            )
            for visitor in self.visitors
        ]

    async def more(self, number: int, *tasks: "asyncio.Task[None]") -> None:
        """Wait for so many more acks, or for one of the tasks to fail."""
        target = self.acks + number
        await eventually(lambda: self.acks >= target or any(task.done() for task in tasks), within=60)

    async def check(self, url: str, engine: str | None = None) -> None:
        """Nothing acknowledged is lost, nothing else is stored, and counts equal membership.

        With the URL of the ``engine`` the membership itself is counted too.
        """
        held: dict[str, Counter[str]] = {item: Counter() for item in self.items}
        counts: dict[str, dict[str, int]] = {}
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            for visitor in self.visitors:
                answer = await http.get(
                    "/v1/items",
                    params=[("item", item) for item in self.items],
                    headers=bearer(visitor.token),
                )
                for shown in answer.raise_for_status().json()["items"]:
                    item, reaction = shown["item"], shown["reaction"]
                    assert reaction in visitor.possible(item), (item, reaction, visitor.possible(item))
                    counts[item] = shown["counts"]
                    if reaction is not None:
                        held[item][reaction] += 1
                    # From here on this is what is known.
                    visitor.acked[item] = reaction
                visitor.under_way.clear()
                visitor.refused.clear()
        assert counts == {item: {kind: held[item][kind] for kind in KINDS} for item in self.items}
        if engine is not None:
            async with raw(engine) as client:
                assert counts == {item: await membership(client, item) for item in self.items}

    async def settle(self, url: str, engine: str | None = None) -> None:
        """Check, with patience: what was under way when its socket closed may take effect for a while."""
        failures: list[AssertionError] = []

        async def agreed() -> bool:
            try:
                await self.check(url, engine)
            except AssertionError as failure:
                failures[:] = [failure]
                return False
            except httpx.HTTPError:
                return False
            return True

        try:
            await eventually(agreed, within=20)
        except AssertionError:
            raise (failures or [AssertionError("the server does not answer")])[0] from None


class Watcher:
    """Shows items as a page does, on as many connections as it takes; wrong is what a page must never see."""

    def __init__(self, ws_url: str, items: list[str], *, resets: bool = False) -> None:
        self.shown: Shown = {}
        self.connections = self.resets = 0
        self.connected = False
        self._url = ws_url
        self._items = items
        self._may_reset = resets

    async def watch(self) -> None:
        """Watch until cancelled. Fails when a version falls, or comes twice on a connection."""
        while True:
            try:
                async with connect(f"{self._url}/ws") as socket:
                    self.connections += 1
                    self.connected = True
                    since = {item: version for item, (version, _) in self.shown.items()}
                    watch = {"type": "watch", "items": self._items, "since": since}
                    await socket.send(json.dumps(watch))
                    async for frame in socket:
                        self._receive(json.loads(frame))
            except (WebSocketException, OSError):
                pass
            self.connected = False
            await asyncio.sleep(AGAIN)

    def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] != "counts":
            return
        version, _ = self.shown.get(message["item"], (-1, {}))
        if message.get("reset"):
            assert self._may_reset, message
            self.resets += 1
        else:
            assert message["version"] > version, (message, version)
        self.shown[message["item"]] = (message["version"], message["counts"])


async def stored(url: str, items: list[str]) -> Shown:
    """What a newcomer is shown."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = await http.get("/v1/items", params=[("item", item) for item in items])
        listed = answer.raise_for_status().json()["items"]
    return {shown["item"]: (shown["version"], shown["counts"]) for shown in listed}


class Audience:
    """Watchers that run, and the wait until all of them are exact."""

    def __init__(self, watchers: list[Watcher], tasks: "list[asyncio.Task[None]]", url: str) -> None:
        self.watchers = watchers
        self.tasks = tasks
        self._url = url

    async def exact(self, within: float = 30.0) -> float:
        """Wait until every watcher is there and shows what is stored; how long it took (s)."""
        began = time.monotonic()

        async def agreed() -> bool:
            self.check()
            try:
                truth = await stored(self._url, self.watchers[0]._items)
            except httpx.HTTPError:
                return False
            return all(watcher.connected and watcher.shown == truth for watcher in self.watchers)

        await eventually(agreed, within)
        return time.monotonic() - began

    def check(self) -> None:
        """Fails when one of them has seen something wrong."""
        for task in self.tasks:
            if task.done():
                task.result()


@asynccontextmanager
async def audience(
    url: str, items: list[str], number: int = 3, *, resets: bool = False
) -> AsyncIterator[Audience]:
    """Watchers of all items, to the end of the context."""
    watchers = [Watcher(url.replace("http", "ws", 1), items, resets=resets) for _ in range(number)]
    tasks = [asyncio.create_task(watcher.watch()) for watcher in watchers]
    try:
        here = Audience(watchers, tasks, url)
        await eventually(lambda: all(len(watcher.shown) == len(items) for watcher in watchers), within=30)
        yield here
        here.check()
    finally:
        await quiet(tasks)


async def quiet(tasks: "Iterable[asyncio.Task[None]]") -> None:
    """Cancel, and wait for the end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
