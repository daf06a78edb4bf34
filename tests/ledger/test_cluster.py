"""The ledger on a real cluster: the same promises, while slots move and nodes die."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.crc import key_slot

from server import relay
from server.errors import EngineError, Refusal, Unauthorized, Unavailable
from server.hub import Hub
from server.ledger import audit, merge, moderation, writable
from server.ledger.audit import Outcome
from server.ledger.clock import DEADLINE
from server.ledger.cluster import ClusterEngine
from server.ledger.engine import Engine
from server.ledger.holdings import Holdings
from server.ledger.keys import member
from server.ledger.merge import Merge, Merger
from server.ledger.node import LostError
from server.ledger.parts import feed_of, open_store
from server.ledger.revocations import Revocations, revoke
from server.ledger.scattered import ScatteredReader, ScatteredWriter
from server.ledger.store import wait_until_ready
from server.ledger.writer import Receipt, Writer
from tests.ledger.support import SITE, read, sequence, stored, submitted, wish
from tests.support.cluster import Cluster, Node
from tests.support.names import NAMES
from tests.support.waiting import eventually


@pytest.fixture
async def store(ring: Cluster) -> AsyncIterator[ClusterEngine]:
    for node in ring.primaries:
        node.do("FLUSHALL")
        node.do("SCRIPT", "FLUSH")
    store = open_store(ring.url)
    assert isinstance(store, ClusterEngine)
    await wait_until_ready(store, 10.0)
    yield store
    await store.close()


@pytest.fixture
async def writer(store: ClusterEngine) -> AsyncIterator[Any]:
    writer = ScatteredWriter(store)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(store: ClusterEngine) -> AsyncIterator[Any]:
    reader = ScatteredReader(store)
    yield reader
    await reader.close()


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, int]] = []
        self.personals: list[tuple[bytes, str, str | None]] = []
        self.gone: list[bytes] = []
        self.empty: list[tuple[bytes, int]] = []
        self.rereads: list[bytes] = []

    def changed(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        self.changes.append((channel, version))

    def personal(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        self.personals.append((channel, item, reaction))

    def emptied(self, channel: bytes, version: int) -> None:
        self.empty.append((channel, version))

    def retired(self, channel: bytes) -> None:
        self.gone.append(channel)

    async def reread(self, channels: list[bytes]) -> None:
        self.rereads += channels


def check(ring: Cluster, item: str, counts: dict[str, int]) -> None:
    """Counts are the membership, and every index has at least what is held."""
    state, held = stored(ring.owner(NAMES.item_key(SITE.name, item)).client, SITE.name, item)
    counts = {kind: counts.get(kind, 0) for kind in SITE.kinds}
    assert {kind: state.counts.get(kind, 0) for kind in SITE.kinds} == counts
    assert {kind: list(held.values()).count(kind) for kind in SITE.kinds} == counts
    for visitor in held:
        index = NAMES.index_key(SITE.name, visitor)
        assert ring.owner(index).client.zscore(index, item) is not None


def places(ring: Cluster, item: str) -> tuple[int, Node, Node]:
    """An item's slot, its primary, and another primary."""
    source = ring.owner(NAMES.item_key(SITE.name, item))
    target = next(node for node in ring.primaries if node is not source)
    return key_slot(NAMES.item_key(SITE.name, item)), source, target


def followers(node: Node, channel: bytes) -> int:
    """How many follow a channel at a node."""
    return int(node.client.pubsub_shardnumsub(channel)[0][1])


async def merged(merger: Merger, visitor: str, account: str) -> Refusal | None:
    future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    merger.submit(Merge(SITE.name, member(visitor), member(account), future.set_result))
    return await future


async def test_reactions_all_over_the_cluster(ring: Cluster, writer: Any, reader: Any) -> None:
    items = [f"i/{number}" for number in range(30)]
    assert len({ring.owner(NAMES.item_key(SITE.name, item)) for item in items}) == 3
    answers = await asyncio.gather(
        *(
            submitted(writer, f"a:{visitor}", item, kind)
            for item in items
            for visitor, kind in enumerate(SITE.kinds)
        )
    )
    assert all(isinstance(answer, Receipt) for answer in answers)
    # In order for each item, though nothing waits.
    again = [submitted(writer, "a:0", "i/0", kind) for kind in ("dislike", None, "like", "dislike", "like")]
    versions = [answer.version for answer in await asyncio.gather(*again) if isinstance(answer, Receipt)]
    assert versions == sorted(set(versions))
    assert len(versions) == 5
    states = await read(reader, items, "a:0")
    assert [(state.counts, state.reaction) for state in states] == [({"like": 1, "dislike": 1}, "like")] * 30
    for item in items:
        check(ring, item, {"like": 1, "dislike": 1})


async def test_a_subscriber_goes_on_hearing_when_the_slot_moves(
    ring: Cluster, store: ClusterEngine, writer: Any
) -> None:
    heard = Heard()
    feed = feed_of(store, heard)
    channel, mine = NAMES.item_channel(SITE.name, "x"), NAMES.visitor_channel(SITE.name, member("a:1"))
    running = asyncio.create_task(feed.run())
    feed.follow(channel)
    feed.follow(mine)
    await eventually(lambda: feed.up and heard.rereads == [channel])
    first = await wish(writer, "a:1", "x", "like", origin=7)
    await eventually(lambda: (channel, first.version) in heard.changes and len(heard.personals) == 1)
    assert heard.personals == [(mine, "x", "like")]
    slot, _, target = places(ring, "x")
    await asyncio.to_thread(ring.move, slot, target)
    # What was published meanwhile may be lost, so it is read again.
    await eventually(lambda: followers(target, channel) == 1 and len(heard.rereads) > 1)
    second = await wish(writer, "a:2", "x", "like")
    await eventually(lambda: (channel, second.version) in heard.changes)
    feed.leave(channel)
    await wish(writer, "a:3", "x", "like")
    await eventually(lambda: followers(target, channel) == 0)
    running.cancel()
    await asyncio.wait([running])


async def test_what_was_missed_is_repaired_and_a_store_that_went_back_is_shown(
    ring: Cluster, store: ClusterEngine, writer: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a feed, all is missed."""
    monkeypatch.setattr(relay, "PERIOD", 0.2)
    monkeypatch.setattr(relay, "GRACE", 0.2)
    between = relay.Relay(reader.submit, NAMES)
    reconciler = relay.Reconciler(between)
    later = asyncio.get_running_loop().call_later
    between.hub = Hub(NAMES.item_channel, reconciler.follow, reconciler.leave, later)
    running = asyncio.create_task(reconciler.run())
    topics = [between.hub.hold(SITE, f"i/{number}") for number in range(30)]
    await eventually(lambda: all(topic.version == 0 for topic in topics))
    for number in range(30):
        await wish(writer, "a:1", f"i/{number}", "like")
    await eventually(lambda: all(topic.counts["like"] == 1 for topic in topics))
    assert reconciler.repairs == 30
    for node in ring.primaries:
        node.do("FLUSHALL")
    await eventually(lambda: all(topic.version == 0 for topic in topics))
    assert reconciler.repairs == 60
    running.cancel()
    await asyncio.wait([running])


async def test_a_slot_that_goes_back_and_forth_loses_nothing(
    ring: Cluster, store: ClusterEngine, writer: Any, reader: Any
) -> None:
    heard = Heard()
    feed = feed_of(store, heard)
    running = asyncio.create_task(feed.run())
    channel = NAMES.item_channel(SITE.name, "x")
    feed.follow(channel)
    await eventually(lambda: feed.up and heard.rereads == [channel])
    slot, source, target = places(ring, "x")
    moving, acked = True, 0

    async def react() -> None:
        nonlocal acked
        while moving:
            acked += 1
            await wish(writer, f"a:{acked}", "x", "like")

    reacting = asyncio.create_task(react())
    for turn in range(9):
        before = acked
        await asyncio.to_thread(ring.move, slot, (target, source)[turn % 2])
        await eventually(lambda before=before: acked > before)
    moving = False
    await reacting
    check(ring, "x", {"like": acked, "dislike": 0})
    await eventually(lambda: followers(target, channel) == 1)
    last = await wish(writer, "a:1", "x", "dislike")
    await eventually(lambda: (channel, last.version) in heard.changes)
    running.cancel()
    await asyncio.wait([running])


async def test_an_item_of_many_buckets_is_audited_right_while_its_slot_moves_under_load(
    ring: Cluster, store: ClusterEngine, writer: Any
) -> None:
    await asyncio.gather(*(wish(writer, f"a:{visitor}", "big", "like") for visitor in range(300)))
    # A refusal leaves the outcome unknown, and what is acknowledged holds until the next wish.
    maybe: dict[str, set[str | None]] = {}
    over, findings = False, Counter[Outcome]()

    async def react(first: int) -> None:
        number = first
        while not over:
            number += 4
            visitor, kind = f"a:{number % 600}", SITE.kinds[number // 600 % 2]
            answer = await submitted(writer, visitor, "big", kind)
            if isinstance(answer, Receipt):
                maybe[visitor] = {kind}
            else:
                maybe.setdefault(visitor, {"like" if number < 300 else None}).add(kind)

    async def look() -> None:
        while not over:
            try:
                findings[(await audit.check(store, SITE.name, "big")).outcome] += 1
            except Unavailable:
                pass

    tasks = [asyncio.create_task(work) for work in (*(react(first) for first in range(4)), look())]
    for _ in range(4):
        seen = findings[Outcome.RIGHT]
        slot, _, target = places(ring, "big")
        await asyncio.to_thread(ring.move, slot, target)
        await eventually(lambda seen=seen: findings[Outcome.RIGHT] > seen + 1)
    over = True
    await asyncio.gather(*tasks)
    assert findings[Outcome.REPAIRED] == 0
    state, held = stored(ring.owner(NAMES.item_key(SITE.name, "big")).client, SITE.name, "big")
    check(ring, "big", state.counts)
    assert state.buckets > 3
    for visitor, kinds in maybe.items():
        assert held.get(member(visitor)) in kinds


async def test_nodes_that_announce_names_and_one_that_has_none(ring: Cluster, writer: Any) -> None:
    named = ring.primaries[:2]

    async def all_over(store: ClusterEngine) -> None:
        heard = Heard()
        feed = feed_of(store, heard)
        running = asyncio.create_task(feed.run())
        own = ScatteredWriter(store)
        items = [f"i/{number}" for number in range(30)]
        for item in items:
            feed.follow(NAMES.item_channel(SITE.name, item))
        await eventually(lambda: feed.up and len(set(heard.rereads)) == 30)
        receipts = [await wish(own, "a:1", item, "like") for item in items]
        news = {
            (NAMES.item_channel(SITE.name, item), receipt.version)
            for item, receipt in zip(items, receipts, strict=True)
        }
        await eventually(lambda: news <= set(heard.changes))
        # The node that was asked says where it went.
        slot, _, target = places(ring, "i/0")
        await asyncio.to_thread(ring.move, slot, target)
        await wish(own, "a:2", "i/0", "like")
        check(ring, "i/0", {"like": 2, "dislike": 0})
        await own.close()
        running.cancel()
        await asyncio.wait([running])
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
        assert isinstance(store, ClusterEngine)
        await wait_until_ready(store, 10.0)
        names = sorted(node.address.partition(":")[0] for node in store.slots.primaries)
        assert names == ["127.0.0.1", "localhost", "localhost"]
        await all_over(store)
    finally:
        for node in ring.nodes:
            node.do("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
            node.do("CONFIG", "SET", "cluster-announce-hostname", "")


async def test_a_lost_link_to_a_node_means_that_its_clock_is_not_known(
    ring: Cluster, store: ClusterEngine, writer: Any
) -> None:
    await wish(writer, "a:1", "x", "like")
    _, owner, _ = places(ring, "x")
    node = store.slots.owner(key_slot(NAMES.item_key(SITE.name, "x")))
    assert node is not None
    assert node.clock.known
    owner.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await eventually(lambda: not node.clock.known)
    await wish(writer, "a:2", "x", "like")
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
        # Its commands wait; that it lives is told to the others all the same.
        slow.do("CLIENT", "PAUSE", 300, "ALL")
        answers = await react(SITE.kinds[turn % 2])
        assert all(isinstance(answer, Receipt) for answer in answers)
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
        if isinstance(answer, Receipt)
    }
    assert len(done) < len(answers)
    await eventually(slow.answers)
    for item in items:
        likes = sum((visitor, item) in done for visitor in visitors)
        check(ring, item, {"like": likes, "dislike": 3 - likes})


async def test_a_reply_that_comes_in_the_moment_in_which_it_is_given_up(
    store: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = store.slots.primaries[0]
    await node.call(("PING",), within=30)
    line = node._line
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
    await line.ended()
    assert line._task.cancelled() or line._task.exception() is None


async def test_a_slot_that_is_half_moved(ring: Cluster, writer: Any, reader: Any) -> None:
    """Two small items in one slot: one has gone already, one has not, and a third has never been."""
    await wish(writer, "a:1", "x", "like")
    slot, source, target = places(ring, "x")
    ring.begin_move(slot, source, target)
    assert (await wish(writer, "a:2", "x", "like")).counts["like"] == 2
    assert ring.move_keys(slot, source, target) == 1
    # From here on the source sends on by ASK.
    assert (await wish(writer, "a:3", "x", "like")).counts["like"] == 3
    assert (await read(reader, ["x"], "a:3"))[0].reaction == "like"
    ring.end_move(slot, source, target)
    assert (await wish(writer, "a:4", "x", "dislike")).counts == {"like": 3, "dislike": 1}
    check(ring, "x", {"like": 3, "dislike": 1})


async def test_an_item_of_which_a_part_has_not_come_yet_is_refused_and_not_miscounted(
    ring: Cluster, store: ClusterEngine, writer: Any
) -> None:
    size = 300
    await asyncio.gather(*(wish(writer, f"a:{visitor}", "big", "like") for visitor in range(size)))
    slot, source, target = places(ring, "big")
    ring.begin_move(slot, source, target)
    # The item's own key alone: most of its members are still where they were.
    source.do("MIGRATE", "127.0.0.1", target.port, NAMES.item_key(SITE.name, "big"), 0, 5000)
    asked = [submitted(writer, f"a:{visitor}", "big", "dislike") for visitor in range(size)]
    answers = await asyncio.gather(*asked)
    assert {type(answer) for answer in answers} <= {Receipt, Unavailable}
    assert any(isinstance(answer, Unavailable) for answer in answers)
    ring.move_keys(slot, source, target)
    ring.end_move(slot, source, target)
    state, _ = stored(ring.owner(NAMES.item_key(SITE.name, "big")).client, SITE.name, "big")
    assert sum(state.counts.values()) == size
    check(ring, "big", state.counts)
    await asyncio.gather(*(wish(writer, f"a:{visitor}", "big", "dislike") for visitor in range(size)))
    check(ring, "big", {"like": 0, "dislike": size})
    await moderation.reset(store, SITE.name, "big")
    check(ring, "big", {"like": 0, "dislike": 0})


async def test_scripts_that_a_node_has_lost(ring: Cluster, writer: Any) -> None:
    await wish(writer, "a:1", "x", "like")
    for node in ring.primaries:
        node.do("SCRIPT", "FLUSH")
    answers = await asyncio.gather(
        *(wish(writer, f"a:{visitor}", f"i/{visitor}", "like") for visitor in range(50))
    )
    assert {answer.counts["like"] for answer in answers} == {1}


async def test_a_merge_across_the_cluster(
    ring: Cluster, store: ClusterEngine, writer: Any, reader: Any
) -> None:
    items = [f"i/{number}" for number in range(20)]
    for item in items:
        await wish(writer, "a:1", item, "like")
    await wish(writer, "u:1", "i/0", "dislike")
    heard = Heard()
    feed = feed_of(store, heard)
    running = asyncio.create_task(feed.run())
    feed.follow(NAMES.visitor_channel(SITE.name, member("a:1")))
    await eventually(lambda: feed.up)
    merger = Merger(store)
    moving = asyncio.create_task(merged(merger, "a:1", "u:1"))
    # Another tab, all the while: each person is counted once for each item, in the end.
    racing = [submitted(writer, visitor, item, "like") for item in items for visitor in ("a:1", "u:1")]
    assert await moving is None
    await asyncio.gather(*racing)
    assert await merged(merger, "a:1", "u:1") is None
    states = await read(reader, items, "u:1")
    assert [(sum(state.counts.values()), state.reaction) for state in states] == [(1, "like")] * 20
    assert isinstance(await submitted(writer, "a:1", "new", "like"), Unauthorized)
    assert isinstance(await merged(merger, "a:1", "u:2"), Unauthorized)
    await eventually(lambda: heard.gone != [])
    for item in items:
        check(ring, item, {"like": 1, "dislike": 0})
    await merger.close()
    running.cancel()
    await asyncio.wait([running])


async def test_a_reaction_that_was_half_written_when_its_visitor_was_retired_is_moved_too(
    ring: Cluster, store: ClusterEngine, writer: ScatteredWriter, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half: list[Any] = []
    with monkeypatch.context() as slow:
        slow.setattr(writer._items, "submit", lambda *step: half.append(step))
        wished = submitted(writer, "a:1", "x", "like")
        await eventually(lambda: len(half) == 1)
    merger, index = Merger(store), NAMES.index_key(SITE.name, member("a:1"))
    moving = asyncio.create_task(merged(merger, "a:1", "u:1"))
    await eventually(lambda: ring.owner(index).client.type(index) == b"string")
    began = time.monotonic()
    await eventually(lambda: moving.done() or time.monotonic() - began > DEADLINE / 4)
    writer._items.submit(*half[0])
    answer = await wished
    assert await moving is None
    # On a slow machine it may have come too late, and then it must not have been written at all.
    likes = int(isinstance(answer, Receipt))
    state = (await read(reader, ["x"], "u:1"))[0]
    assert (state.counts["like"], state.reaction) == (likes, "like" if likes else None)
    check(ring, "x", {"like": likes})


async def test_all_that_a_visitor_holds_is_erased(
    store: ClusterEngine, writer: Any, reader: Any, ring: Cluster
) -> None:
    for number in range(5):
        await wish(writer, "u:1", f"i/{number}", "like")
    holdings = Holdings(store, reader.submit, writer.submit, Merger(store).bring_home)
    assert await holdings.erase(SITE, "u:1") == 5
    index = NAMES.index_key(SITE.name, member("u:1"))
    assert not ring.owner(index).client.exists(index)
    for number in range(5):
        check(ring, f"i/{number}", {"like": 0, "dislike": 0})


async def test_revocations_and_moderation(store: ClusterEngine, writer: Any) -> None:
    told: list[tuple[str, bytes]] = []
    await revoke(store, SITE.name, "u:1")
    await Revocations(store, lambda site, visitor, at: told.append((site, visitor))).look()
    assert told == [(SITE.name, member("u:1"))]
    await wish(writer, "a:1", "x", "like")
    assert await moderation.freeze(store, SITE.name, "x", frozen=True)
    assert isinstance(await submitted(writer, "a:2", "x", "like"), Refusal)


async def test_a_primary_that_takes_no_writes_is_found_out(ring: Cluster, store: ClusterEngine) -> None:
    assert len(store.everywhere()) == 3
    for node in ring.primaries:
        assert await writable.look(store)
        node.do("CONFIG", "SET", "maxmemory", "1")
        try:
            assert not await writable.look(store)
        finally:
            node.do("CONFIG", "SET", "maxmemory", "0")
    assert await writable.look(store)


async def test_a_url_that_does_not_say_what_it_is(ring: Cluster, engine: str) -> None:
    link = Engine(ring.url.partition("?")[0])
    with pytest.raises(EngineError, match=r"add cluster=true"):
        await wait_until_ready(link, 5.0)
    await link.close()


async def test_the_same_of_a_secret_and_of_the_layout(store: ClusterEngine, ring: Cluster) -> None:
    other = open_store(ring.url)
    assert await wait_until_ready(other, 5.0) == await wait_until_ready(store, 5.0)
    ring.owner(NAMES.layout.encode()).do("SET", NAMES.layout, "0")
    with pytest.raises(EngineError, match="another version"):
        await wait_until_ready(other, 5.0)
    await other.close()


async def test_what_no_replica_confirms_is_not_acknowledged(ring: Cluster, store: ClusterEngine) -> None:
    strict = open_store(ring.url, replicas=1)
    assert isinstance(strict, ClusterEngine)
    writer = ScatteredWriter(strict)
    assert (await wish(writer, "a:1", "x", "like")).counts["like"] == 1
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
    assert sum((await wish(writer, "a:2", "x", "like")).counts.values()) == 2
    await writer.close()
    await strict.close()


async def test_one_engine_without_a_replica_cannot_confirm_either(link: Engine, engine: str) -> None:
    strict = Engine(engine, replicas=1)
    writer = Writer(strict)
    assert isinstance(await submitted(writer, "a:1", "x", "like"), Unavailable)
    await writer.close()
    await strict.close()


async def test_a_node_that_stands_still_holds_up_no_other(fresh_ring: Cluster) -> None:
    """A replica may take its place."""
    ring, visitor = fresh_ring, "a:1"
    store = open_store(ring.url)
    assert isinstance(store, ClusterEngine)
    await wait_until_ready(store, 10.0)
    writer: Any = ScatteredWriter(store)
    stopped = ring.primaries[0]
    there, elsewhere = [], []
    for number in range(60):
        owner = ring.owner(NAMES.item_key(SITE.name, f"i/{number}"))
        (there if owner is stopped else elsewhere).append(f"i/{number}")
    # A visitor whose index is on a node that works.
    while ring.owner(NAMES.index_key(SITE.name, member(visitor))) is stopped:
        visitor += "1"
    await asyncio.gather(*(wish(writer, visitor, item, "like") for item in there + elsewhere))
    stopped.stop()
    try:
        waiting = [submitted(writer, visitor, item, "dislike") for item in there]
        for item in elsewhere:
            await wish(writer, visitor, item, "dislike")
        assert {type(answer).__base__ for answer in await asyncio.gather(*waiting)} <= {Unavailable, Refusal}
    finally:
        stopped.go_on()
    # The wishes that are not waited for any more have not taken effect later.
    await eventually(stopped.answers)
    answers = await asyncio.gather(*(submitted(writer, visitor, item, "like") for item in there))
    assert all(isinstance(answer, Receipt | Unavailable) for answer in answers)
    await writer.close()
    await store.close()


async def test_all_items_are_audited(
    store: ClusterEngine, writer: Any, ring: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for large in (500, 0):
        monkeypatch.setattr(audit, "LARGE", large)
        for number in range(10):
            await wish(writer, f"a:{large}", f"i/{number}", "like")
        key = NAMES.item_key(SITE.name, "i/3")
        state = stored(ring.owner(key).client, SITE.name, "i/3")[0]
        right = dict(state.counts)
        ring.owner(key).client.hset(key, "", sequence(state.version, 0, 0, 1, 0, "like", 7))
        found = [
            await audit.check(store, *place)
            async for page in audit.pages(store)
            for place in sorted(set(page.items))
        ]
        assert {finding.item for finding in found} == {f"i/{number}" for number in range(10)}
        assert [finding.item for finding in found if finding.outcome is not Outcome.RIGHT] == ["i/3"]
        check(ring, "i/3", right)


async def test_a_merge_that_was_cut_off_is_finished(
    store: ClusterEngine, writer: Any, ring: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> bool:
        raise Unavailable("a node is away")

    items = [f"i/{number}" for number in range(10)]
    for item in items:
        await wish(writer, "a:1", item, "like")
    with monkeypatch.context() as broken:
        broken.setattr(Merger, "move", away)
        assert isinstance(await merged(Merger(store), "a:1", "u:1"), Unavailable)
    for item in items:
        assert (await wish(writer, "u:1", item, "dislike")).counts == {"like": 1, "dislike": 1}
    monkeypatch.setattr(merge, "LEFT_ALONE", -60)
    other = Merger(store)
    await other.look()
    assert other.resumed == 1
    for item in items:
        check(ring, item, {"like": 0, "dislike": 1})
    assert not await store.command("EXISTS", NAMES.merges)
