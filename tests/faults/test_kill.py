"""Things are killed in the middle of writes: nothing acknowledged is lost, and counts equal membership."""

import asyncio
import json
import os
import signal

import pytest
from websockets.asyncio.client import connect

from tests.conftest import MakeServer
from tests.faults.oracle import Crowd
from tests.support.processes import clients
from tests.support.waiting import eventually

ROUNDS = 3
BETWEEN = 400


async def quiet(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def settle(crowd: Crowd, url: str) -> None:
    """Check, with patience: what was under way when its socket closed may still take effect for a while."""

    async def agreed() -> bool:
        try:
            await crowd.check(url)
        except AssertionError:
            return False
        return True

    await eventually(agreed)


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_server_is_killed(make_server: MakeServer, workers: int) -> None:
    server = make_server(flags=["--workers", str(workers)])
    crowd = Crowd(visitors=12, items=6, seed=workers)
    await crowd.arrive(server.url)
    for _ in range(ROUNDS):
        target = crowd.acks + BETWEEN
        tasks = crowd.start(server.ws_url)
        await eventually(lambda target=target: crowd.acks >= target)
        server.kill()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(server.family_is_gone)
        await asyncio.to_thread(server.start)
        await crowd.check(server.url)


async def test_the_engine_is_killed(make_server: MakeServer) -> None:
    server = make_server()
    crowd = Crowd(visitors=12, items=6, seed=3)
    await crowd.arrive(server.url)
    tasks = crowd.start(server.ws_url)
    for _ in range(ROUNDS):
        target = crowd.acks + BETWEEN
        await eventually(lambda target=target: crowd.acks >= target)
        engine = server.engine
        assert engine is not None
        os.kill(engine, signal.SIGKILL)
    target = crowd.acks + BETWEEN
    await eventually(lambda: crowd.acks >= target)
    await quiet(tasks)
    await settle(crowd, server.url)


async def test_watchers_are_exact_after_the_engine_was_killed(make_server: MakeServer) -> None:
    server = make_server()
    crowd = Crowd(visitors=4, items=3, seed=4)
    await crowd.arrive(server.url)
    shown: dict[str, tuple[int, dict[str, int]]] = {}

    async def watch() -> None:
        async with connect(f"{server.ws_url}/ws") as socket:
            await socket.send(json.dumps({"type": "watch", "items": crowd.items}))
            async for frame in socket:
                message = json.loads(frame)
                if message["type"] == "counts":
                    version, _ = shown.get(message["item"], (-1, {}))
                    assert message["version"] > version, "versions never fall, and none comes twice"
                    shown[message["item"]] = (message["version"], message["counts"])

    watcher = asyncio.create_task(watch())
    tasks = crowd.start(server.ws_url)
    for _ in range(ROUNDS):
        target = crowd.acks + BETWEEN
        await eventually(lambda target=target: crowd.acks >= target or watcher.done())
        engine = server.engine
        assert engine is not None
        os.kill(engine, signal.SIGKILL)
    target = crowd.acks + BETWEEN
    await eventually(lambda: crowd.acks >= target or watcher.done())
    await quiet(tasks)

    async def exact() -> bool:
        async with connect(f"{server.ws_url}/ws") as socket:
            await socket.send(json.dumps({"type": "watch", "items": crowd.items}))
            fresh = {}
            for _ in crowd.items:
                message = json.loads(await socket.recv())
                fresh[message["item"]] = (message["version"], message["counts"])
            return watcher.done() or fresh == shown

    await eventually(exact)
    assert not watcher.done(), watcher.exception()
    await quiet([watcher])


async def test_one_worker_of_two_is_killed(make_server: MakeServer) -> None:
    server = make_server(flags=["--workers", "2"])
    crowd = Crowd(visitors=12, items=6, seed=5)
    await crowd.arrive(server.url)
    for turn in range(ROUNDS):
        workers = server.workers
        victim, other = workers[turn % 2], workers[(turn + 1) % 2]
        before = clients(other)
        tasks: list[asyncio.Task[None]] = []
        elsewhere = 0
        while not 0 < elsewhere < len(tasks):
            # Which worker accepts a connection is the kernel's choice: connect again when one has them all.
            await quiet(tasks)
            await eventually(lambda before=before, other=other: clients(other) <= before)
            tasks = crowd.start(server.ws_url)
            target = crowd.acks + BETWEEN
            await eventually(lambda target=target: crowd.acks >= target)
            elsewhere = clients(other) - before
        os.kill(victim, signal.SIGKILL)
        lost = len(tasks) - elsewhere
        await eventually(lambda tasks=tasks, lost=lost: sum(task.done() for task in tasks) >= lost)
        await eventually(lambda turn=turn: server.output().count("a worker is back") > turn)
        assert sum(task.done() for task in tasks) == lost, "the other worker's connections are not disturbed"
        await quiet(tasks)
        await settle(crowd, server.url)
