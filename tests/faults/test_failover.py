"""A managed failover: the primary is demoted, another one is promoted, and no connection is closed."""

import asyncio

import pytest

from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet
from tests.support.names import NAMES
from tests.support.pair import pair
from tests.support.proxy import between
from tests.support.waiting import eventually

VISITORS, PAUSE = 24, 0.1
SITE = "default"


@pytest.mark.parametrize("durability", ["local", "replica"])
async def test_reactions_and_watchers_follow_a_failover(
    make_server: MakeServer, durability: str, measured: Measured
) -> None:
    flags = ["--workers", "2", "--durability", durability]
    with pair() as two:
        async with between(two.primary.url) as proxy:
            server = await asyncio.to_thread(make_server, flags=flags, env={"REDIS_URL": proxy.url})
            crowd = Crowd(VISITORS, items=10, seed=25)
            await crowd.arrive(server.url)
            channels = [NAMES.item_channel(SITE, item) for item in crowd.items]
            async with audience(server.url, crowd.items) as watchers:
                tasks = crowd.start(server.ws_url, PAUSE)
                for _ in range(rounds(2, 10)):
                    await crowd.more(100, *watchers.tasks)
                    proxy.engine_url = two.replica.url
                    await asyncio.to_thread(two.fail_over)
                    # All, as before, and what is published on the new primary is received.
                    acks = [visitor.acks for visitor in crowd.visitors]
                    await eventually(
                        lambda acks=acks: all(
                            visitor.acks > before
                            for visitor, before in zip(crowd.visitors, acks, strict=True)
                        )
                    )
                    await eventually(lambda: not any(map(two.replica.subscribers, channels)))
                await quiet(tasks)
                took = await watchers.exact()
                await crowd.settle(server.url, two.primary.url)
                assert {watcher.connections for watcher in watchers.watchers} == {1}, (
                    "no connection was dropped"
                )
    measured(
        f"{rounds(2, 10)} failovers, {crowd.acks} acknowledged, 0 lost; exact {took:.2f} s after the last"
    )
