"""An older backup is restored under connected clients: all accept it, and go on from there."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.keys import member

from tests.conftest import MakeServer
from tests.faults import FULL
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet, stored
from tests.ledger.support import sequence
from tests.support.engine import DurableEngine
from tests.support.names import NAMES
from tests.support.scrape import FLAGS, scrape
from tests.support.waiting import eventually

WATCHERS = 20


async def test_an_older_backup_is_restored(make_server: MakeServer, measured: Measured) -> None:
    with DurableEngine() as engine:
        server = await asyncio.to_thread(make_server, env={"REDIS_URL": engine.url})
        crowd = Crowd(visitors=12, items=6, seed=31)
        await crowd.arrive(server.url)
        async with audience(server.url, crowd.items, WATCHERS, resets=True) as watchers:
            for then in (lambda: shutil.copytree(engine.folder, engine.folder.with_suffix(".backup")), None):
                tasks = crowd.start(server.ws_url, 0.01)
                await crowd.more(300, *watchers.tasks)
                await quiet(tasks)
                await crowd.settle(server.url, engine.url)
                await watchers.exact()
                if then is not None:
                    before = await stored(server.url, crowd.items)
                    then()
            after = await stored(server.url, crowd.items)
            assert all(before[item][0] < after[item][0] for item in crowd.items)
            engine.stop()
            shutil.rmtree(engine.folder)
            engine.folder.with_suffix(".backup").rename(engine.folder)
            engine.start()
            began = time.monotonic()
            await eventually(lambda: all(watcher.shown == before for watcher in watchers.watchers), within=20)
            took = time.monotonic() - began
            assert all(watcher.resets >= len(crowd.items) for watcher in watchers.watchers)
            assert {watcher.connections for watcher in watchers.watchers} == {1}
            # From here on it goes forward: every version is above those that were shown before the restore.
            for visitor in crowd.visitors:
                visitor.refused.update(crowd.items)
            tasks = crowd.start(server.ws_url, 0.01)
            await crowd.more(300, *watchers.tasks)
            await quiet(tasks)
            await crowd.settle(server.url, engine.url)
            await watchers.exact()
            again = await stored(server.url, crowd.items)
            assert all(again[item][0] > after[item][0] for item in crowd.items)
    measured(f"{WATCHERS} watchers had accepted it {took:.2f} s after the engine was back")


async def test_a_copy_of_a_running_server_is_a_backup(
    make_server: MakeServer, tmp_path: Path, measured: Measured
) -> None:
    """Made as docs/reliability.md says, while people react."""
    server = await asyncio.to_thread(make_server)
    crowd, others = Crowd(visitors=8, items=4, seed=33), Crowd(visitors=8, items=4, seed=34)
    others.items = [f"other/{item}" for item in others.items]
    for some in (crowd, others):
        await some.arrive(server.url)
    tasks = crowd.start(server.ws_url, 0.01)
    await crowd.more(200)
    await quiet(tasks)
    await crowd.settle(server.url, running_engine(server.data))
    tasks = others.start(server.ws_url)
    await others.more(200)
    copy = tmp_path / "restored" / "data"
    await asyncio.to_thread(back_up, server.data, copy)
    await others.more(200)
    await quiet(tasks)
    acks = others.acks
    await asyncio.to_thread(server.close)

    restored = await asyncio.to_thread(make_server, folder=copy.parent)
    engine = running_engine(restored.data)
    await crowd.check(restored.url, engine)
    # Of what went on meanwhile a part is in it; counts are the membership all the same.
    for visitor in others.visitors:
        visitor.refused.update(others.items)
    await others.check(restored.url, engine)
    measured(f"a copy made during {acks} reactions: all from before it is there, counts = membership")


def back_up(data: Path, copy: Path) -> None:
    """Copy until the manifest was the same before and after."""
    manifest = data / "appendonlydir" / "appendonly.aof.manifest"
    while True:
        before = manifest.read_bytes()
        shutil.copytree(data / "appendonlydir", copy / "appendonlydir")
        if manifest.read_bytes() == before:
            return
        shutil.rmtree(copy)


# The short form of this is a test of server/tallycast/fanout/reconciler.py.
if FULL:

    async def test_a_store_that_went_back_without_a_lost_link(
        make_server: MakeServer, engine: str, measured: Measured
    ) -> None:
        """Found by comparison."""
        server = await asyncio.to_thread(make_server, env={"REDIS_URL": engine})
        crowd = Crowd(visitors=4, items=6, seed=32)
        await crowd.arrive(server.url)
        async with (
            audience(server.url, crowd.items, resets=True) as watchers,
            Redis.from_url(engine) as client,
        ):
            tasks = crowd.start(server.ws_url, 0.01)
            await crowd.more(200, *watchers.tasks)
            await quiet(tasks)
            await watchers.exact()
            await client.flushall()
            began = time.monotonic()
            empty = {item: (0, {"like": 0, "dislike": 0}) for item in crowd.items}
            await eventually(lambda: all(watcher.shown == empty for watcher in watchers.watchers), within=60)
        measured(f"all accepted it after {time.monotonic() - began:.1f} s")

    @pytest.mark.parametrize("workers", [1, 2])
    async def test_updates_that_reach_no_worker(
        make_server: MakeServer, engine: str, measured: Measured, workers: int
    ) -> None:
        """The store changes, and nothing is published: found by comparison, and counted."""
        flags = ["--workers", str(workers), *FLAGS]
        server = await asyncio.to_thread(make_server, flags=flags, env={"REDIS_URL": engine})
        crowd = Crowd(visitors=4, items=90, seed=33)
        await crowd.arrive(server.url)
        async with (
            audience(server.url, crowd.items) as watchers,
            Redis.from_url(engine) as client,
        ):
            version = time.time_ns() // 1000
            ahead = {item: (version, {"like": 7, "dislike": 0}) for item in crowd.items}
            began = time.monotonic()
            for item in crowd.items:
                held = {member(f"a:{number}"): 1 for number in range(7)}
                state = {b"": sequence(version, 0, 0, 1, 0, "like", 7)}
                await client.hset(NAMES.item_key("default", item), mapping=state | held)
            await eventually(lambda: all(watcher.shown == ahead for watcher in watchers.watchers), within=60)
            took = time.monotonic() - began
            found = await asyncio.to_thread(scrape, server)
            assert found.get_one("reconciliation_repairs_total") == found.get_one("watched_items")
        measured(f"90 items, {workers} workers: all shown after {took:.1f} s")
