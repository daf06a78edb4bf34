"""The links between a server and its engine break: everyone converges, and nothing is counted twice."""

import asyncio
import time

import httpx
from redis.asyncio import Redis

from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Audience, Crowd, audience, quiet
from tests.support.proxy import between, feeds
from tests.support.waiting import eventually

# So many visitors with so long a pause (s) after each answer make 200 reactions a second, and a few more.
VISITORS, PAUSE = 24, 0.1


async def still(
    crowd: Crowd, tasks: "list[asyncio.Task[None]]", watchers: Audience, engine: str, url: str
) -> float:
    """Stop writing, ask the oracle; how long it took until every watcher was exact (s)."""
    await quiet(tasks)
    began = time.monotonic()
    await watchers.exact()
    took = time.monotonic() - began
    await crowd.settle(url, engine)
    await watchers.exact()
    return took


async def unready(url: str) -> bool:
    """Whether a load balancer is sent elsewhere."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        return (await http.get("/readyz")).status_code == 503


async def test_the_feeds_link_is_killed_every_second(
    make_server: MakeServer, engine: str, measured: Measured
) -> None:
    server = await asyncio.to_thread(make_server, flags=["--workers", "2"], env={"REDIS_URL": engine})
    crowd = Crowd(VISITORS, items=10, seed=21)
    await crowd.arrive(server.url)
    acks, seconds = 0, rounds(3, 30)
    async with audience(server.url, crowd.items) as watchers, Redis.from_url(engine) as client:
        tasks = crowd.start(server.ws_url, PAUSE)
        began = time.monotonic()
        for turn in range(1, seconds + 1):
            await eventually(lambda turn=turn: time.monotonic() - began >= turn)
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            watchers.check()
        acks = crowd.acks
        took = await still(crowd, tasks, watchers, engine, server.url)
        assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    measured(f"{seconds} links lost at {acks / seconds:.0f} reactions/s; exact {took:.2f} s after the last")


async def test_the_feeds_link_is_a_black_hole(
    make_server: MakeServer, engine: str, measured: Measured
) -> None:
    """Reactions are confirmed all the time; nothing published comes through, and no new link helps."""
    async with between(engine) as proxy:
        server = await asyncio.to_thread(make_server, env={"REDIS_URL": proxy.url})
        crowd = Crowd(VISITORS, items=10, seed=24)
        await crowd.arrive(server.url)
        async with audience(server.url, crowd.items) as watchers:
            tasks = crowd.start(server.ws_url, PAUSE)
            await crowd.more(200, *watchers.tasks)
            proxy.hold(feeds)
            acks, began = crowd.acks, time.monotonic()
            await eventually(lambda: unready(server.url), within=50)
            noticed_after = time.monotonic() - began
            await asyncio.sleep(max(0, rounds(4, 20) - (time.monotonic() - began)))
            rate = (crowd.acks - acks) / (time.monotonic() - began)
            proxy.release()
            took = await still(crowd, tasks, watchers, engine, server.url)
            assert not any(visitor.refusals for visitor in crowd.visitors)
            assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    measured(
        f"noticed after {noticed_after:.1f} s, {rate:.0f} reactions/s meanwhile; "
        f"exact {took:.2f} s after the last"
    )


async def test_the_network_to_the_engine_is_a_black_hole(
    make_server: MakeServer, engine: str, measured: Measured
) -> None:
    async with between(engine) as proxy:
        server = await asyncio.to_thread(make_server, env={"REDIS_URL": proxy.url})
        crowd = Crowd(VISITORS, items=10, seed=22)
        await crowd.arrive(server.url)
        async with audience(server.url, crowd.items) as watchers:
            tasks = crowd.start(server.ws_url, PAUSE)
            await crowd.more(200, *watchers.tasks)
            proxy.hold()
            began = time.monotonic()
            await eventually(lambda: unready(server.url), within=50)
            noticed_after = time.monotonic() - began
            await eventually(lambda: all(visitor.refusals for visitor in crowd.visitors), within=30)
            await asyncio.sleep(max(0, rounds(4, 20) - (time.monotonic() - began)))
            # What the hole had swallowed arrives late, and must have no effect any more.
            proxy.release()
            await crowd.more(200, *watchers.tasks)
            took = await still(crowd, tasks, watchers, engine, server.url)
            assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    measured(f"noticed after {noticed_after:.1f} s; exact {took:.2f} s after the last reaction")


async def test_all_links_are_cut_in_the_middle_of_batches(
    make_server: MakeServer, engine: str, measured: Measured
) -> None:
    """All connections to the engine end at once, again and again."""
    async with between(engine) as proxy:
        server = await asyncio.to_thread(make_server, env={"REDIS_URL": proxy.url})
        crowd = Crowd(VISITORS, items=10, seed=23)
        await crowd.arrive(server.url)
        cut = 0
        async with audience(server.url, crowd.items) as watchers:
            tasks = crowd.start(server.ws_url, 0.01)
            for _ in range(rounds(2, 10)):
                await crowd.more(200, *watchers.tasks)
                cut += proxy.cut()
            await crowd.more(200, *watchers.tasks)
            took = await still(crowd, tasks, watchers, engine, server.url)
    measured(f"{cut} connections cut; exact {took:.2f} s after the last reaction")
