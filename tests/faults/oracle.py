"""Visitors that react as fast as they are answered, and know what must be true afterwards.

Owns the bookkeeping: what was acknowledged, what was under way when something broke. Knows only the public
contract.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

KINDS = ("like", "dislike")
WISHES = (*KINDS, None)
WINDOW = 8


@dataclass
class Visitor:
    """One person on one socket, with up to ``WINDOW`` reactions under way."""

    token: str
    acked: dict[str, str | None] = field(default_factory=dict)
    under_way: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    acks: int = 0
    refs: int = 0

    async def react(self, ws_url: str, items: list[str], chance: random.Random) -> None:
        """React until the connection ends."""
        # What an earlier connection left under way may or may not have taken effect.
        self.refused.update(item for item, _ in self.under_way.values())
        self.under_way.clear()
        try:
            async with connect(f"{ws_url}/ws") as socket:
                await socket.send(json.dumps({"type": "auth", "token": self.token}))
                while True:
                    while len(self.under_way) < WINDOW:
                        await self._wish(socket, chance.choice(items), chance.choice(WISHES))
                    self._heard(json.loads(await socket.recv()))
        except (WebSocketException, OSError):
            pass

    def possible(self, item: str) -> set[str | None]:
        """What may be stored for this visitor: what was acknowledged last, or what came after that.

        A wish that was refused as ``unavailable`` may have taken effect as well.
        """
        later = {wish for ref, (name, wish) in self.under_way.items() if name == item}
        if item in self.refused:
            return set(WISHES)
        return {self.acked.get(item), *later}

    async def _wish(self, socket: ClientConnection, item: str, wish: str | None) -> None:
        self.refs += 1
        self.under_way[self.refs] = (item, wish)
        message = {"type": "react", "item": item, "reaction": wish, "ref": self.refs}
        await socket.send(json.dumps(message))

    def _heard(self, message: dict[str, object]) -> None:
        ref = message.get("ref")
        if not isinstance(ref, int):
            return
        item, wish = self.under_way.pop(ref)
        if message["type"] == "ack":
            self.acks += 1
            self.acked[item] = wish
            # Answers come in the order of the wishes: what was refused before is overtaken by this.
            self.refused.discard(item)
        else:
            assert message["code"] == "unavailable", message
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
        """Everybody gets an identity."""
        async with httpx.AsyncClient(base_url=url) as http:
            for _ in range(self._size):
                self.visitors.append(Visitor((await http.post("/v1/visitors")).json()["token"]))

    def start(self, ws_url: str) -> "list[asyncio.Task[None]]":
        """Everybody reacts, until their connection ends or they are cancelled."""
        return [
            asyncio.create_task(visitor.react(ws_url, self.items, random.Random(self._chance.random())))
            for visitor in self.visitors
        ]

    async def check(self, url: str) -> None:
        """Nothing acknowledged is lost, nothing else is stored, and counts equal membership."""
        held: dict[str, Counter[str]] = {item: Counter() for item in self.items}
        counts: dict[str, dict[str, int]] = {}
        async with httpx.AsyncClient(base_url=url) as http:
            for visitor in self.visitors:
                answer = await http.get(
                    "/v1/items",
                    params=[("item", item) for item in self.items],
                    headers={"Authorization": f"Bearer {visitor.token}"},
                )
                for shown in answer.json()["items"]:
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
