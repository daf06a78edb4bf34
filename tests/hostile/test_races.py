"""Too many watches, one visitor in a thousand places, and conversations that go astray."""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

import httpx
import msgpack
import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import bearer, visitor_token, visitor_token_blocking
from tests.client.websocket import connect
from tests.hostile.watch import FULL, attack
from tests.support.process import ServerProcess
from tests.support.waiting import eventually, wait_for

SEED = 20260
pytestmark = pytest.mark.timeout(900)


def channels(server: ServerProcess, prefix: str) -> int:
    """How many channels of such items are followed in the engine."""
    with Redis.from_url(f"unix://{server.data / 'engine.sock'}") as engine:
        return len(engine.pubsub_channels(f"tc:{{default:{prefix}*"))


def test_10_000_watches_on_one_socket(victim: ServerProcess) -> None:
    """Refused past the cap; and no channel is left in the engine when it is gone."""
    many = 10_000

    async def watch_all() -> Counter[str]:
        found: Counter[str] = Counter()
        async with connect(f"{victim.ws_url}/ws") as line:
            for first in range(0, many, 100):
                items = [f"greedy/{number}" for number in range(first, first + 100)]
                answer = await line.ask("watch", items=items)
                found[answer.get("code", answer["type"])] += 1
            assert channels(victim, "greedy/") == 5000
        return found

    with attack(victim, "10,000 watches on one socket", most=64 * 2**20):
        assert asyncio.run(watch_all()) == {"watching": 50, "too_many_items": 50}
        wait_for(lambda: channels(victim, "greedy/") == 0, "the channels' end", 60)


async def test_a_thousand_sockets_race_one_visitor(lenient: ServerProcess) -> None:
    """Its state is one of three in the end, and the totals are exactly that."""
    # Each hears of what every other one does.
    many, times = (1000, 1) if FULL else (200, 5)
    with attack(lenient, f"{many:,} sockets of one visitor, {many * times:,} toggles", most=64 * 2**20):
        found = await race_all(lenient, many, times)
    print(f"hostile: in the end {found}", end="")


async def race_all(lenient: ServerProcess, many: int, times: int) -> str:
    """Let so many sockets of one visitor react so often each; what came of it."""
    async with httpx.AsyncClient(base_url=lenient.url, trust_env=False) as http:
        token = await visitor_token(http)
        url = f"{lenient.ws_url}/ws?item=raced"
        few = asyncio.Semaphore(50)
        acked: Counter[str] = Counter()

        async def race(number: int) -> None:
            chance = random.Random(SEED + number)
            async with few:
                line = await connect(url)
                await line.ask("auth", token=token)
            ready.append(number)
            await start.wait()
            for _ in range(times):
                wanted = chance.choice(("like", "dislike", None))
                answer = await line.ask("react", item="raced", reaction=wanted)
                acked[answer["type"]] += 1
            await line.close()

        ready: list[int] = []
        start = asyncio.Event()
        racing = asyncio.gather(*map(race, range(many)))
        await eventually(lambda: len(ready) == many or racing.done(), within=300)
        start.set()
        await racing
        headers = bearer(token)
        (mine,) = (await http.get("/v1/items?item=raced", headers=headers)).json()["items"]
        (item,) = (await http.get("/v1/items?item=raced")).json()["items"]
    assert acked == {"ack": many * times}
    assert mine["reaction"] in ("like", "dislike", None)
    right = {kind: int(kind == mine["reaction"]) for kind in ("like", "dislike")}
    assert mine["counts"] == item["counts"] == right
    return f"the reaction {mine['reaction']}, and the counts {item['counts']}"


class Mutator:
    """Valid conversations, and what becomes of them when something is changed."""

    def __init__(self, seed: int, token: str, protocol: str) -> None:
        self._chance = random.Random(seed)
        self._token = token
        self._binary = protocol.endswith("msgpack")

    def message(self) -> bytes:
        """One message, changed in one way or another, or not at all."""
        chance = self._chance
        message = self._valid()
        if chance.random() < 0.4:
            self._change(message)
        data = msgpack.packb(message) if self._binary else json.dumps(message).encode()
        if chance.random() < 0.3:
            data = self._garble(data)
        return data

    def _valid(self) -> dict[str, Any]:
        chance = self._chance
        items = [f"mutated/{chance.randrange(50)}" for _ in range(chance.randint(1, 8))]
        kind = chance.choice(("auth", "watch", "unwatch", "react", "react", "ping"))
        message: dict[str, Any] = {"type": kind, "ref": chance.randrange(2**53)}
        match kind:
            case "auth":
                message["token"] = self._token
            case "watch":
                message["items"] = items
                message["since"] = {item: chance.randrange(2**53) for item in items[:2]}
            case "unwatch":
                message["items"] = items
            case "react":
                message |= {"item": items[0], "reaction": chance.choice(("like", "dislike", None))}
        return message

    def _change(self, message: dict[str, Any]) -> None:
        chance = self._chance
        odd: list[Any] = [None, True, -1, 2**63, 1.5, "", "\0", "x" * 300, "👍", [], [[]], {}, {"a": {}}]
        name = chance.choice([*message, "type", "new"])
        match chance.randrange(3):
            case 0:
                message[name] = chance.choice(odd)
            case 1:
                message.pop(name, None)
            case _:
                message[name] = {name: [message.get(name)] * chance.randint(0, 20)}

    def _garble(self, data: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                return data[:at]
            case 1:
                return data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]
            case 2:
                return data[:at] + chance.randbytes(chance.randint(1, 16)) + data[at:]
            case _:
                return data[at:] + data[:at]


async def _talk(url: str, mutator: Mutator, protocol: str, messages: int) -> int:
    """Send so many messages, by as many connections as it takes; how many were answered."""
    answers = left = 0
    text = protocol.endswith("json")
    while messages > 0:
        try:
            async with connect(url, subprotocols=[protocol]) as line:
                left = min(messages, 400)
                for _ in range(left):
                    data = mutator.message()
                    messages -= 1
                    # What is not UTF-8 ends a connection, which is tried elsewhere.
                    await line.send(data.decode(errors="replace") if text else data)
                    await asyncio.sleep(0)
                await asyncio.sleep(0.05)
                while True:
                    await asyncio.wait_for(line.recv(), 0.05)
                    answers += 1
        except (ConnectionClosed, TimeoutError):
            pass
    return answers


def test_mutated_conversations(lenient: ServerProcess) -> None:
    """No traceback, no growth; and valid messages are answered as ever."""
    total, talkers = (100_000, 8) if FULL else (4_000, 4)
    seed = int(time.time()) if FULL else SEED
    token = visitor_token_blocking(lenient.url)

    async def talk() -> int:
        protocols = ("tallycast.v1.json", "tallycast.v1.msgpack")
        work = [
            _talk(
                f"{lenient.ws_url}/ws",
                Mutator(seed + number, token, protocols[number % 2]),
                protocols[number % 2],
                total // talkers,
            )
            for number in range(talkers)
        ]
        return sum(await asyncio.gather(*work))

    with attack(lenient, f"{total:,} mutated messages (seed {seed})", most=32 * 2**20):
        answers = asyncio.run(talk())
    assert answers > total // 10, "they were conversations"
