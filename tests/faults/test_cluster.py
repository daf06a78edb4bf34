"""A cluster whose slots move and whose nodes die under load: what is lost is what docs/cluster.md says."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import cycle

import httpx
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.client.tokens import bearer, visitor_token
from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet, stored
from tests.ledger.support import stored as in_engine
from tests.support.cluster import Cluster, Node
from tests.support.names import NAMES
from tests.support.waiting import eventually

SITE = "default"
VISITORS, PAUSE = 20, 0.1


def check(ring: Cluster, items: list[str], shown: dict[str, dict[str, int]]) -> None:
    """What is shown is the membership, and every index has at least what is held."""
    for item in items:
        _, held = in_engine(ring.owner(NAMES.item_key(SITE, item)).client, SITE, item)
        assert shown[item] == {kind: list(held.values()).count(kind) for kind in shown[item]}
        for visitor in held:
            index = NAMES.index_key(SITE, visitor)
            assert ring.owner(index).client.zscore(index, item) is not None


def at_once(ring: Cluster, slot: int, target: Node) -> None:
    """Move a slot in one step, as newer engines can."""
    source = next(node for node in ring.alive if node.port != target.port and _has(node, slot))
    source.do("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
    deadline = time.monotonic() + 15
    while not _has(target, slot):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _has(node: Node, slot: int) -> bool:
    held = node.client.execute_command("CLUSTER SLOTS")
    return any(start <= slot <= end and holder[1] == node.port for start, end, holder, *_ in held)


def ways(ring: Cluster) -> list[Callable[[Cluster, int, Node], None]]:
    """How slots can be moved on this engine."""
    by_key: Callable[[Cluster, int, Node], None] = lambda ring, slot, target: ring.move(slot, target)  # noqa: E731
    try:
        ring.primaries[0].do("CLUSTER", "GETSLOTMIGRATIONS")
    except RedisError:
        return [by_key]
    return [by_key, at_once]


async def test_slots_move_and_a_primary_dies_and_nothing_confirmed_by_a_replica_is_lost(
    make_server: MakeServer, fresh_ring: Cluster, measured: Measured
) -> None:
    ring, flags = fresh_ring, ["--workers", "2", "--durability", "replica"]
    server = await asyncio.to_thread(make_server, flags=flags, env={"REDIS_URL": ring.url})
    crowd = Crowd(VISITORS, items=10, seed=31)
    await crowd.arrive(server.url)
    async with audience(server.url, crowd.items, resets=True) as watchers:
        tasks = crowd.start(server.ws_url, PAUSE)
        await crowd.more(100, *watchers.tasks)
        moves = rounds(6, 100)
        for move, item, way in zip(range(moves), cycle(crowd.items), cycle(ways(ring)), strict=False):
            name = NAMES.item_key(SITE, item)
            source = ring.owner(name)
            targets = [node for node in ring.primaries if node is not source]
            await asyncio.to_thread(partial(way, ring, key_slot(name), targets[move % 2]))
            await crowd.more(10, *watchers.tasks)
        refused = sum(visitor.refusals for visitor in crowd.visitors)
        # One that has something to lose.
        dead = ring.owner(NAMES.item_key(SITE, crowd.items[0]))
        dead.kill()
        began = time.monotonic()
        successor = ring.replica_of(dead)
        await eventually(lambda: successor.info("replication")["role"] == "master", within=60)
        promoted = time.monotonic() - began
        # Its successor has no replica that could confirm, until the dead one comes back as that.
        dead.start()
        await eventually(lambda: successor.info("replication")["connected_slaves"] == 1, within=60)
        acks = Counter({visitor.token: visitor.acks for visitor in crowd.visitors})
        await eventually(lambda: all(visitor.acks > acks[visitor.token] for visitor in crowd.visitors), 60)
        resumed = time.monotonic() - began
        await quiet(tasks)
        exact = await watchers.exact()
        await crowd.settle(server.url)
        truth = await stored(server.url, crowd.items)
        await asyncio.to_thread(check, ring, crowd.items, {item: shown[1] for item, shown in truth.items()})
        assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    measured(
        f"{moves} slots moved, {refused} refused; primary killed, promoted after {promoted:.1f} s, all go on "
        f"after {resumed:.1f} s; {crowd.acks} acked, 0 lost; exact {exact:.2f} s after the last"
    )


async def test_a_failover_loses_what_the_replica_had_not_received_and_everyone_is_shown_so(
    make_server: MakeServer, fresh_ring: Cluster, measured: Measured
) -> None:
    """Durability "local". It is made sure that there is something to lose: the replica stands still."""
    ring, item = fresh_ring, "item/0"
    server = await asyncio.to_thread(make_server, env={"REDIS_URL": ring.url})
    primary = ring.owner(NAMES.item_key(SITE, item))
    replica = ring.replica_of(primary)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:

        async def react(reaction: str) -> dict[str, int]:
            token = await visitor_token(http)
            answer = await http.put(
                "/v1/reaction",
                params={"item": item},
                json={"reaction": reaction},
                headers=bearer(token),
            )
            return dict(answer.raise_for_status().json()["counts"])

        async def serves() -> bool:
            try:
                return (await react("dislike"))["like"] == 3
            except httpx.HTTPStatusError:
                return False

        for _ in range(3):
            await react("like")
        await eventually(lambda: in_engine(_readable(replica), SITE, item)[0].counts.get("like") == 3)
        async with audience(server.url, [item], resets=True) as watchers:
            replica.stop()
            primary.do("CLIENT", "KILL", "TYPE", "replica")
            for _ in range(5):
                acked = await react("like")
            assert acked["like"] == 8, "acknowledged, and only here"
            primary.kill()
            replica.go_on()
            await eventually(lambda: replica.info("replication")["role"] == "master", within=60)
            await eventually(serves, within=60)
            await watchers.exact()
            counts = watchers.watchers[0].shown[item][1]
            assert counts["like"] == 3
            await asyncio.to_thread(check, ring, [item], {item: counts})
    measured("of 8 acked reactions the 5 were lost that the replica had not received; counts = membership")


def _readable(replica: Node) -> object:
    """A replica's client, for reading."""
    replica.do("READONLY")
    return replica.client
