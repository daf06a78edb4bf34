"""Nodes of a cluster: their names, what is slow, lost or without a replica."""

import asyncio
from typing import Any

import pytest
from redis.crc import key_slot
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.engine import probe
from tallycast.engine.clock import DEADLINE
from tallycast.engine.cluster.node import LostError
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.factory import open_store
from tallycast.engine.keys import member
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import EngineError
from tallycast.ledger.cluster.writer import ClusterWriter
from tallycast.ledger.writer import Committed, StandaloneWriter

from tests.ledger.cluster.support import RecordingListener, check, places
from tests.ledger.support import SITE, set_reaction, submitted
from tests.support.cluster import Cluster
from tests.support.engine import is_up
from tests.support.names import NAMES
from tests.support.waiting import end, eventually


@pytest.mark.usefixtures("store")
async def test_nodes_that_announce_names_and_one_that_has_none(ring: Cluster) -> None:
    named = ring.primaries[:2]

    async def all_over(store: ClusterStore) -> None:
        received = RecordingListener()
        feed = store.feed(received)
        running = asyncio.create_task(feed.run())
        own = ClusterWriter(store)
        items = [f"i/{number}" for number in range(30)]
        for item in items:
            feed.subscribe(NAMES.item_channel(SITE.name, item))
        await eventually(lambda: feed.up and len(set(received.rereads)) == 30)
        receipts = [await set_reaction(own, "a:1", item, "like") for item in items]
        news = {
            (NAMES.item_channel(SITE.name, item), receipt.version)
            for item, receipt in zip(items, receipts, strict=True)
        }
        await eventually(lambda: news <= set(received.changes))
        # The node that was asked says where it went.
        slot, _, target = places(ring, "i/0")
        await asyncio.to_thread(ring.move, slot, target)
        await set_reaction(own, "a:2", "i/0", "like")
        check(ring, "i/0", {"like": 2, "dislike": 0})
        await own.close()
        await end(running)
        await store.close()

    try:
        for node in ring.nodes:
            node.do("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        for node in named:
            node.do("CONFIG", "SET", "cluster-announce-hostname", "localhost")
        announced = {node.port: b"localhost" if node in named else b"?" for node in ring.primaries}

        def known() -> bool:
            maps = (node.client.execute_command("CLUSTER SLOTS") for node in ring.primaries)
            return all({own[1]: own[0] for _, _, own, *_ in slots} == announced for slots in maps)

        await eventually(known, within=30)
        store = open_store(ring.url)
        assert isinstance(store, ClusterStore)
        await wait_until_ready(store, 10.0)
        names = sorted(node.address.partition(":")[0] for node in store.slots.primaries)
        assert names == ["127.0.0.1", "localhost", "localhost"]
        await all_over(store)
    finally:
        for node in ring.nodes:
            node.do("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
            node.do("CONFIG", "SET", "cluster-announce-hostname", "")


async def test_a_lost_link_to_a_node_means_that_its_clock_is_not_known(
    ring: Cluster, store: ClusterStore, writer: Any
) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    _, owner, _ = places(ring, "x")
    node = store.slots.owner(key_slot(NAMES.item_key(SITE.name, "x")))
    assert node is not None
    assert node.clock.known
    owner.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await eventually(lambda: not node.clock.known)
    await set_reaction(writer, "a:2", "x", "like")
    assert node.clock.known


async def test_a_node_that_is_slow_is_waited_for_and_one_that_is_too_slow_does_nothing_later(
    ring: Cluster, writer: Any
) -> None:
    items = [f"i/{number}" for number in range(12)]
    slow = ring.owner(NAMES.item_key(SITE.name, items[0]))
    visitors = ["a:1", "a:2", "a:3"]

    async def react(kind: str) -> list[Any]:
        return await asyncio.gather(
            *(submitted(writer, visitor, item, kind) for visitor in visitors for item in items)
        )

    await react("like")
    for turn in range(4):
        # Its commands wait; that it lives is reported to the others all the same.
        slow.do("CLIENT", "PAUSE", 300, "ALL")
        answers = await react(SITE.kinds[turn % 2])
        assert all(isinstance(answer, Committed) for answer in answers)
    for item in items:
        check(ring, item, {"like": 0, "dislike": 3})
    slow.do("CLIENT", "PAUSE", int(1000 * DEADLINE) + 1500, "ALL")
    answers = await react("like")
    # What was refused may not have been begun, as its visitor's index may be there, too.
    done = {
        (visitor, item)
        for (visitor, item), answer in zip(
            ((visitor, item) for visitor in visitors for item in items), answers, strict=True
        )
        if isinstance(answer, Committed)
    }
    assert len(done) < len(answers)
    await eventually(lambda: is_up(slow.client))
    for item in items:
        likes = sum((visitor, item) in done for visitor in visitors)
        check(ring, item, {"like": likes, "dislike": 3 - likes})


async def test_a_reply_that_comes_in_the_moment_in_which_it_is_given_up(
    store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = store.slots.primaries[0]
    await node.call(("PING",), within=30)
    line = node._connection
    assert line is not None
    receive = line._connection.read_response

    async def too_late(**given: Any) -> Any:
        reply = await receive(**given)
        line.close("given up")
        return reply

    monkeypatch.setattr(line._connection, "read_response", too_late)
    # The one that is waited for already is still taken.
    await node.call(("PING",), within=30)
    with pytest.raises(LostError, match="given up"):
        await node.call(("PING",), within=30)
    await line.wait_closed()
    assert line._task.cancelled() or line._task.exception() is None


async def test_scripts_that_a_node_has_lost(ring: Cluster, writer: Any) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    for node in ring.primaries:
        node.do("SCRIPT", "FLUSH")
    answers = await asyncio.gather(
        *(set_reaction(writer, f"a:{visitor}", f"i/{visitor}", "like") for visitor in range(50))
    )
    assert {answer.counts["like"] for answer in answers} == {1}


async def test_a_primary_that_takes_no_writes_is_found_out(ring: Cluster, store: ClusterStore) -> None:
    assert len(store.probe_keys()) == 3
    for node in ring.primaries:
        assert await probe.accepts_writes(store)
        node.do("CONFIG", "SET", "maxmemory", "1")
        try:
            assert not await probe.accepts_writes(store)
        finally:
            node.do("CONFIG", "SET", "maxmemory", "0")
    assert await probe.accepts_writes(store)


async def test_a_url_that_does_not_say_what_it_is(ring: Cluster, engine: str) -> None:
    link = StandaloneStore(ring.url.partition("?")[0])
    with pytest.raises(EngineError, match=r"add cluster=true"):
        await wait_until_ready(link, 5.0)
    await link.close()


async def test_what_no_replica_confirms_is_not_acknowledged(ring: Cluster, store: ClusterStore) -> None:
    strict = open_store(ring.url, replicas=1)
    assert isinstance(strict, ClusterStore)
    writer = ClusterWriter(strict)
    assert (await set_reaction(writer, "a:1", "x", "like")).counts["like"] == 1
    _, primary, _ = places(ring, "x")
    replica = ring.replica_of(primary)
    replica.stop()
    try:
        answer = await submitted(writer, "a:1", "x", "dislike")
    finally:
        replica.go_on()
    assert isinstance(answer, Unavailable)
    await eventually(ring.in_sync)
    # It may have taken effect, or not.
    assert sum((await set_reaction(writer, "a:2", "x", "like")).counts.values()) == 2
    await writer.close()
    await strict.close()


async def test_one_engine_without_a_replica_cannot_confirm_either(engine: str) -> None:
    strict = StandaloneStore(engine, replicas=1)
    writer = StandaloneWriter(strict)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Unavailable)
    await writer.close()
    await strict.close()


async def test_a_node_that_stands_still_holds_up_no_other(fresh_ring: Cluster) -> None:
    """A replica may take its place."""
    ring, visitor = fresh_ring, "a:1"
    store = open_store(ring.url)
    assert isinstance(store, ClusterStore)
    await wait_until_ready(store, 10.0)
    writer: Any = ClusterWriter(store)
    stopped = ring.primaries[0]
    there, elsewhere = [], []
    for number in range(60):
        owner = ring.owner(NAMES.item_key(SITE.name, f"i/{number}"))
        (there if owner is stopped else elsewhere).append(f"i/{number}")
    # A visitor whose index is on a node that works.
    while ring.owner(NAMES.index_key(SITE.name, member(visitor))) is stopped:
        visitor += "1"
    await asyncio.gather(*(set_reaction(writer, visitor, item, "like") for item in there + elsewhere))
    stopped.stop()
    try:
        waiting = [submitted(writer, visitor, item, "dislike") for item in there]
        for item in elsewhere:
            await set_reaction(writer, visitor, item, "dislike")
        assert {type(answer).__base__ for answer in await asyncio.gather(*waiting)} <= {Unavailable, Refusal}
    finally:
        stopped.go_on()
    # The reactions that are not waited for any more have not taken effect later.
    await eventually(lambda: is_up(stopped.client))
    answers = await asyncio.gather(*(submitted(writer, visitor, item, "like") for item in there))
    assert all(isinstance(answer, Committed | Unavailable) for answer in answers)
    await writer.close()
    await store.close()
