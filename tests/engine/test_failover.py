"""A primary is demoted, or its name leads elsewhere, and the old connections stay open: real engines."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import BusyLoadingError, ResponseError
from tallycast.contract.errors import OutcomeUnknown, Refusal, Unavailable
from tallycast.engine import failover, keys, probe
from tallycast.engine import standalone as engine_module
from tallycast.engine.cluster.node import Node
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.connection_pool import pool
from tallycast.engine.factory import open_store
from tallycast.engine.failover import LONGEST_PAUSE, Backoff, is_sign
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.startup import wait_until_ready
from tallycast.ledger.factory import build_writer
from tallycast.ledger.writer import Committed, StandaloneWriter

from tests.engine.test_feed import Ear
from tests.ledger.support import membership, raw, set_reaction, submitted
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.pair import Member, Pair, members, pair
from tests.support.proxy import between
from tests.support.waiting import end, eventually

X = NAMES.item_channel("default", "x")


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as two:
        yield two


@pytest.fixture
def strangers() -> Iterator[list[Member]]:
    """Two engines that do not replicate, on the same port of two addresses."""
    with members("127.0.0.2", "127.0.0.3") as strangers:
        yield strangers


class Server:
    """The parts of a worker that talk to an engine; ``acked`` are visitors whose like was confirmed."""

    def __init__(self, url: str, replicas: int = 0) -> None:
        store = open_store(url, replicas)
        assert isinstance(store, StandaloneStore)
        self.store = store
        self.ear = Ear()
        self.feed = store.feed(self.ear)
        self.writer = build_writer(store)
        self.acked: list[str] = []
        self._count = 0

    async def like(self) -> bool:
        """A new visitor likes x; whether it is acknowledged."""
        self._count += 1
        visitor = f"a:{self._count}"
        answer: Committed | Refusal = await submitted(self.writer, visitor, "x", "like")
        if isinstance(answer, Committed):
            self.acked.append(visitor)
            return True
        # It was answered, and nothing took effect: there is nothing to wait for.
        assert not isinstance(answer, OutcomeUnknown)
        return False

    async def hears(self) -> bool:
        """Whether the feed hears of what is acknowledged now."""
        before = len(self.ear.counts)
        if not await self.like():
            return False
        await asyncio.sleep(0)
        return len(self.ear.counts) > before

    async def exact(self, member: Member) -> None:
        """Everything that was acknowledged is stored there, once, and the feed shows it."""
        async with raw(member.url) as client:
            counted = await membership(client, "x")
            state = {"like": counted["like"]}
            await eventually(lambda: self.ear.counts[-1][1].items() >= state.items())
            for visitor in self.acked:
                assert await client.zscore(NAMES.index_key("default", keys.member(visitor)), "x") is not None
        assert counted["like"] >= len(self.acked)


@asynccontextmanager
async def serving(url: str, replicas: int = 0) -> AsyncIterator[Server]:
    """A server at work, whose feed follows x."""
    server = Server(url, replicas)
    await wait_until_ready(server.store, 10.0)
    server.feed.subscribe(X)
    running = [asyncio.create_task(work) for work in (server.feed.run(), server.store.maintain())]
    try:
        await eventually(lambda: server.ear.rereads == [{X}])
        yield server
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.writer.close()
        await server.store.close()


@pytest.mark.parametrize("replicas", [0, 1])
async def test_after_a_failover_reactions_and_the_feed_find_the_new_primary(two: Pair, replicas: int) -> None:
    old, new = two.primary, two.replica
    async with between(old.url) as proxy, serving(proxy.url, replicas) as server:
        assert await server.like()
        proxy.engine_url = new.url
        failing_over = asyncio.create_task(asyncio.to_thread(two.fail_over))
        # In the middle of it, too.
        while not failing_over.done():
            await server.like()
        await eventually(server.like)
        # The old primary is a replica now and passes everything on, so that its silence gives nothing away.
        await eventually(lambda: old.subscribers(X) == 0 and new.subscribers(X) == 1)
        await eventually(server.hears)
        await server.exact(new)
        assert server.store._link.pool.peers() == {"127.0.0.1"}


async def test_without_a_reaction_it_is_noticed_too(two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "RETRY_INTERVAL", 0.02)
    async with between(two.primary.url) as proxy, serving(proxy.url) as server:
        watching = asyncio.create_task(probe.run(server.store))
        proxy.engine_url = two.replica.url
        await asyncio.to_thread(two.fail_over)
        await eventually(lambda: two.primary.subscribers(X) == 1)
        await eventually(lambda: server.store.health.writable)
        await end(watching)


def cut_off(member: Member) -> None:
    """A replica of an unreachable primary, that does not answer with what it has."""
    member.do("CONFIG", "SET", "replica-serve-stale-data", "no")
    member.do("REPLICAOF", "127.0.0.1", "1")


WAYS = {
    "READONLY": lambda member: member.do("REPLICAOF", "127.0.0.1", "1"),
    "MASTERDOWN": cut_off,
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_says_that_it_cannot_serve_is_left(way: str) -> None:
    with members("127.0.0.1", "127.0.0.1") as (old, new):
        async with between(old.url) as proxy, serving(proxy.url) as server:
            assert await server.like()
            proxy.engine_url = new.url
            await asyncio.to_thread(WAYS[way], old)
            await eventually(server.like)
            await eventually(lambda: new.subscribers(X) == 1 and old.connections() == 0)
            await eventually(server.hears)


async def test_connections_follow_the_host_name(
    strangers: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old engine goes on taking what is written, and says nothing."""
    monkeypatch.setattr(engine_module, "MAINTENANCE_INTERVAL", 0.05)
    old, new = strangers
    address = "127.0.0.2"
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *given: Any, **options: Any) -> Any:
        if host not in ("engine.test", b"engine.test"):
            return resolve(host, *given, **options)
        if not address:
            raise socket.gaierror("no name server answers")
        return resolve(address, *given, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with serving(f"redis://engine.test:{old.port}") as server:
        assert await server.like()
        assert old.subscribers(X) == 1
        for address in ("", "127.0.0.3"):
            link = server.store._link
            if address:
                await eventually(lambda: new.subscribers(X) == 1 and old.subscribers(X) == 0)
                await eventually(server.hears)
                assert server.store._link.pool.peers() == {"127.0.0.3"}
            else:
                # A name that cannot be resolved for a while says nothing.
                assert not await server.store._host_name.moved_from({"127.0.0.2"})
                assert not await server.store._host_name.moved_from({"127.0.0.2"})
                assert server.store._link is link
        assert await server.like()
    assert new.client.exists(NAMES.item_key("default", "x"))


async def test_one_incomplete_answer_of_a_name_server_is_not_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["10.0.0.1"], ["10.0.0.2"], ["10.0.0.1"], ["10.0.0.2"], ["10.0.0.2"]])

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    name = failover.HostName("engine.test")
    assert [await name.moved_from({"10.0.0.1"}) for _ in range(5)] == [False, False, False, False, True]
    for literal in ("10.0.0.1", "::1", "fe80::1%eth0", None):
        assert not await failover.HostName(literal).moved_from({"10.9.9.9"})


async def test_connections_are_closed_at_once_and_then_with_pauses(
    two: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as no engine takes writes, nothing is gained by closing connections all the time."""
    for pause in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(failover, pause, 3600.0)
    store = StandaloneStore(two.replica.url)
    writer = StandaloneWriter(store)
    links = [store._link]

    async def refused() -> bool:
        """Whether connections were closed."""
        assert not isinstance(await submitted(writer, "a:1", "x", "like"), Committed)
        links.append(store._link)
        return links[-1] is not links[-2]

    assert [await refused() for _ in range(5)] == [True, False, False, False, False]
    store._backoff._until = 0
    assert [await refused() for _ in range(3)] == [True, False, False]
    await asyncio.to_thread(two.fail_over)
    await set_reaction(writer, "a:1", "x", "like")
    assert not store._backoff.waiting
    await writer.close()
    await store.close()


def test_pauses_grow_until_something_is_confirmed() -> None:
    backoff = Backoff()
    assert backoff.due()
    assert not backoff.due()
    for _ in range(20):
        backoff._until = 0
        assert backoff.due()
    assert backoff._pause == LONGEST_PAUSE
    backoff.reset()
    assert backoff.due()


@pytest.mark.parametrize(
    "text",
    [
        "READONLY You can't write against a read only replica. script: 5f on @user_script:1.",
        "ERR Error running script (call to f_5f): @user_script:3: -READONLY You can't write against a",
        "@user_script: 3: -LOADING Valkey is loading the dataset in memory",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "WAIT cannot be used with replica instances.",
    ],
)
def test_signs_within_other_errors(text: str) -> None:
    assert is_sign(ResponseError(text))


@pytest.mark.parametrize(
    "text", ["OOM command not allowed", "unknown command 'READONLY'", "BUSY Valkey is busy running a script"]
)
def test_what_is_no_sign(text: str) -> None:
    assert not is_sign(ResponseError(text))


# What an engine answers while it loads its data, which is over too soon to be caught.
LOADS = "return redis.error_reply('LOADING the dataset in memory')"


async def test_an_engine_that_loads_its_data_is_left_and_has_done_nothing(engine: str) -> None:
    store = StandaloneStore(engine)
    link = store._link
    with pytest.raises(Unavailable) as refusal:
        await store.execute("EVAL", LOADS, 0)
    assert not isinstance(refusal.value, OutcomeUnknown)
    assert store._link is not link
    await store.close()


async def test_a_node_that_loads_its_data_is_no_lost_connection(engine: str) -> None:
    node = Node("engine", pool(engine, None))
    (reply,) = await node.call(("EVAL", LOADS, 0), within=10)
    assert isinstance(reply, BusyLoadingError)
    line = node._connection
    # What is under way on the old connection is still answered, and only then it ends.
    asked = asyncio.create_task(node.call(("EVAL", LOADS, 0), ("PING",), within=10))
    await asyncio.sleep(0)
    node.mark_failing()
    _, pong = await asked
    assert pong == b"PONG"
    await eventually(lambda: line is not None and line.closed)
    assert node._connection is not line
    await node.close()


async def test_a_cluster_fails_over_and_no_connection_is_closed(fresh_ring: Cluster) -> None:
    ring = fresh_ring
    store = open_store(ring.url)
    assert isinstance(store, ClusterStore)
    await wait_until_ready(store, 10.0)
    ear, writer = Ear(), build_writer(store)
    feed = store.feed(ear)
    feed.subscribe(X)
    running = asyncio.create_task(feed.run())
    await eventually(lambda: {X} in ear.rereads)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Committed)
    old = ring.owner(X)
    new = ring.replica_of(old)
    new.do("CLUSTER", "FAILOVER")
    await eventually(lambda: new.info("replication")["role"] == "master")

    async def accepted() -> bool:
        return isinstance(await submitted(writer, "a:2", "x", "like"), Committed)

    await eventually(accepted)
    await eventually(lambda: dict(new.client.pubsub_shardnumsub(X))[X] == 1)
    assert isinstance(await submitted(writer, "a:3", "x", "like"), Committed)
    await eventually(lambda: ear.counts[-1] == (X, {"like": 3}))
    await end(running)
    await writer.close()
    await store.close()


async def test_a_worker_that_starts_while_the_cluster_is_down_waits_for_its_end(fresh_ring: Cluster) -> None:
    ring = fresh_ring
    for node in ring.nodes:
        node.do("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    alive, dead = ring.primaries[0], ring.primaries[1]
    # No replica is promoted before the test says so.
    ring.replica_of(dead).do("CONFIG", "SET", "cluster-replica-no-failover", "yes")
    dead.kill()
    await eventually(lambda: "cluster_state:fail" in alive.do("CLUSTER", "INFO"))
    store = open_store(ring.url)
    starting = asyncio.create_task(wait_until_ready(store, 60.0))
    await asyncio.wait([starting], timeout=0.5)
    assert not starting.done()
    ring.replica_of(dead).do("CONFIG", "SET", "cluster-replica-no-failover", "no")
    assert len(await starting) == 32
    await store.close()
