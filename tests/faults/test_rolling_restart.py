"""Workers are replaced one after the other, again and again: no client notices but by a `bye`."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
import pytest
from tallycast.engine.embedded.server import running_engine
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import bearer, visitor_token
from tests.client.websocket import connect
from tests.conftest import MakeServer
from tests.faults import FULL, rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import audience, stored
from tests.ledger.support import membership, raw
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

ITEMS = ["rolling/0", "rolling/1"]
# With so long a pause (s) after each answer they are 200 reactions a second together, and more.
OVER_HTTP, OVER_SOCKETS, PAUSE = 6, 12, 0.05


@dataclass
class Visitor:
    """What one person received, on which item."""

    token: str
    item: str
    held: str | None = None
    acks: int = 0
    returns: int = 0
    codes: set[int | None] = field(default_factory=set)

    @property
    def next(self) -> str | None:
        """Never what it was before."""
        return ("like", "dislike", None)[self.acks % 3]

    def acked(self, reaction: str | None) -> None:
        self.held = reaction
        self.acks += 1

    async def over_http(self, server: ServerProcess, done: asyncio.Event) -> None:
        """React one time after the other on a kept connection. Nothing may fail."""
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            while not done.is_set():
                wanted = self.next
                answer = await http.put(
                    "/v1/reaction",
                    params={"item": self.item},
                    json={"reaction": wanted},
                    headers=bearer(self.token),
                )
                assert answer.status_code == 200, answer.text
                self.acked(wanted)
                await asyncio.sleep(PAUSE)

    async def over_a_socket(self, server: ServerProcess, done: asyncio.Event) -> None:
        """React and await the ack, come back when told to. An error fails, a close does not."""
        while not done.is_set():
            try:
                async with connect(f"{server.ws_url}/ws") as socket:
                    assert (await socket.ask("auth", token=self.token))["type"] == "ready"
                    while not done.is_set():
                        wanted = self.next
                        answer = await socket.ask("react", item=self.item, reaction=wanted)
                        assert answer["type"] == "ack", answer
                        self.acked(wanted)
                        await asyncio.sleep(PAUSE)
            except ConnectionClosed as closed:
                self.codes.add(closed.rcvd and closed.rcvd.code)
                self.returns += 1


async def arrive(server: ServerProcess, number: int) -> list[Visitor]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        tokens = [await visitor_token(http) for _ in range(number)]
    return [Visitor(token, ITEMS[i % len(ITEMS)]) for i, token in enumerate(tokens)]


async def check(server: ServerProcess, visitors: Iterable[Visitor]) -> None:
    """What was acknowledged last is what is stored, and nothing else."""
    shown = await stored(server.url, ITEMS)
    async with raw(running_engine(server.data)) as client:
        for item in ITEMS:
            held = [visitor.held for visitor in visitors if visitor.item == item]
            expected = {kind: held.count(kind) for kind in ("like", "dislike")}
            assert shown[item][1] == expected
            assert await membership(client, item) == expected


@pytest.mark.parametrize("workers", [1, 2] if FULL else [2])
async def test_workers_are_replaced_without_a_failed_reaction(
    make_server: MakeServer, workers: int, measured: Measured
) -> None:
    server = make_server(flags=["--workers", str(workers), "--drain", "3"])
    before = server.workers
    done = asyncio.Event()
    visitors = await arrive(server, OVER_HTTP + OVER_SOCKETS)
    http, sockets = visitors[:OVER_HTTP], visitors[OVER_HTTP:]
    turns = rounds(2, 3)
    async with audience(server.url, ITEMS) as watchers:
        tasks = [asyncio.create_task(one.over_http(server, done)) for one in http]
        tasks += [asyncio.create_task(one.over_a_socket(server, done)) for one in sockets]
        began = time.monotonic()
        try:
            for turn in range(1, turns + 1):
                os.kill(server.pid, signal.SIGUSR2)
                await eventually(
                    lambda turn=turn: (
                        server.output().count("worker replacement completed") == turn
                        or any(task.done() for task in tasks)
                    ),
                    within=60,
                )
                assert len(server.workers) == workers
                assert not set(before) & set(server.workers)
                before = server.workers
        finally:
            done.set()
        rate = sum(visitor.acks for visitor in visitors) / (time.monotonic() - began)
        await asyncio.gather(*tasks)
        took = await watchers.exact()
        await check(server, visitors)
    assert all(visitor.acks for visitor in visitors)
    assert set().union(*(visitor.codes for visitor in sockets)) <= {1012}
    returns = sum(visitor.returns for visitor in sockets)
    assert returns >= len(sockets), "everybody was moved at least once"
    assert "worker died" not in server.output()
    measured(
        f"{turns} restarts of {workers} at {rate:.0f} reactions/s: none failed, {returns} sockets moved; "
        f"exact {took:.2f} s after the last"
    )
