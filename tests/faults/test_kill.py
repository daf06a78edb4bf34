"""Things are killed in the middle of writes: nothing acknowledged is lost, and counts equal membership."""

import asyncio
import os
import signal
import time

import pytest
from tallycast.engine.embedded.server import running_engine

from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet
from tests.support.processes import clients
from tests.support.waiting import eventually

ROUNDS = rounds(1, 10)
BETWEEN = rounds(400, 2000)


class Pace:
    """How fast reactions were acknowledged, in all rounds together; starts do not count."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._acks, self._seconds = 0, 0.0

    async def more(self, *tasks: "asyncio.Task[None]") -> None:
        """Wait for as many acks as a round has."""
        await self._crowd.more(1, *tasks)
        acks, began = self._crowd.acks, time.monotonic()
        await self._crowd.more(BETWEEN, *tasks)
        self._acks += self._crowd.acks - acks
        self._seconds += time.monotonic() - began

    def __str__(self) -> str:
        return f"{ROUNDS} rounds at {self._acks / self._seconds:.0f} acked reactions/s"


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_server_is_killed(make_server: MakeServer, workers: int, measured: Measured) -> None:
    server = make_server(flags=["--workers", str(workers)])
    crowd = Crowd(visitors=12, items=6, seed=workers)
    await crowd.arrive(server.url)
    pace = Pace(crowd)
    longest = 0.0
    async with audience(server.url, crowd.items) as watchers:
        for _ in range(ROUNDS):
            tasks = crowd.start(server.ws_url)
            await pace.more()
            server.kill()
            await asyncio.gather(*tasks)
            await asyncio.to_thread(server.family_is_gone)
            await asyncio.to_thread(server.start)
            await crowd.check(server.url, running_engine(server.data))
            longest = max(longest, await watchers.exact())
    measured(f"{pace}, 0 lost; all watchers exact at most {longest:.1f} s after the start")


async def test_the_engine_is_killed(make_server: MakeServer, measured: Measured) -> None:
    server = make_server()
    crowd = Crowd(visitors=12, items=6, seed=3)
    await crowd.arrive(server.url)
    pace = Pace(crowd)
    async with audience(server.url, crowd.items) as watchers:
        tasks = crowd.start(server.ws_url)
        for turn in range(ROUNDS):
            await pace.more(*watchers.tasks)
            engine = server.engine
            assert engine is not None
            os.kill(engine, signal.SIGKILL)
            await eventually(lambda turn=turn: server.output().count("engine restarted") > turn)
        await pace.more(*watchers.tasks)
        await quiet(tasks)
        await crowd.settle(server.url, running_engine(server.data))
        took = await watchers.exact()
        assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    measured(f"{pace}, 0 lost, no connection dropped; all watchers exact {took:.1f} s after the last")


async def test_one_worker_of_two_is_killed(make_server: MakeServer, measured: Measured) -> None:
    server = make_server(flags=["--workers", "2"])
    crowd = Crowd(visitors=12, items=6, seed=5)
    await crowd.arrive(server.url)
    pace = Pace(crowd)
    longest = 0.0
    async with audience(server.url, crowd.items) as watchers:
        for turn in range(ROUNDS):
            workers = server.workers
            tasks, lost = await _spread(crowd, pace, workers[(turn + 1) % 2], server.ws_url)
            os.kill(workers[turn % 2], signal.SIGKILL)
            await eventually(lambda tasks=tasks, lost=lost: sum(task.done() for task in tasks) >= lost)
            await eventually(lambda turn=turn: server.output().count("worker restarted") > turn)
            assert sum(task.done() for task in tasks) == lost, (
                "connections of the other worker are not disturbed"
            )
            await quiet(tasks)
            await crowd.settle(server.url, running_engine(server.data))
            longest = max(longest, await watchers.exact())
    measured(
        f"{pace}, 0 lost, no connection of the other worker disturbed; all watchers exact at most "
        f"{longest:.1f} s later"
    )


async def _spread(
    crowd: Crowd, pace: Pace, other: int, ws_url: str
) -> "tuple[list[asyncio.Task[None]], int]":
    """Let everybody react, and some of them at the ``other`` worker; how many are not there."""
    before = clients(other)
    while True:
        tasks = crowd.start(ws_url)
        await pace.more()
        elsewhere = clients(other) - before
        if 0 < elsewhere < len(tasks):
            return tasks, len(tasks) - elsewhere
        # Which worker accepts a connection is the kernel's choice: connect again when one has them all.
        await quiet(tasks)
        await eventually(lambda: clients(other) <= before)
