"""Slots that move while items are written, watched and audited."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tallycast.contract.errors import Unavailable
from tallycast.engine.cluster import node
from tallycast.engine.cluster import store as cluster_store
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.keys import member
from tallycast.ledger import audit, moderation
from tallycast.ledger.audit import Outcome
from tallycast.ledger.cluster import writer as cluster_writer
from tallycast.ledger.writer import Committed

from tests.ledger.cluster.support import RecordingListener, check, followers, places
from tests.ledger.support import SITE, read, set_reaction, stored, submitted
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.waiting import end, eventually


async def test_a_subscriber_goes_on_hearing_when_the_slot_moves(
    ring: Cluster, store: ClusterStore, writer: Any
) -> None:
    received = RecordingListener()
    feed = store.feed(received)
    channel, mine = NAMES.item_channel(SITE.name, "x"), NAMES.visitor_channel(SITE.name, member("a:1"))
    running = asyncio.create_task(feed.run())
    feed.subscribe(channel)
    feed.subscribe(mine)
    await eventually(lambda: feed.up and received.rereads == [channel])
    first = await set_reaction(writer, "a:1", "x", "like", connection_id=7)
    await eventually(lambda: (channel, first.version) in received.changes and len(received.personals) == 1)
    assert received.personals == [(mine, "x", "like")]
    slot, _, target = places(ring, "x")
    await asyncio.to_thread(ring.move, slot, target)
    # What was published meanwhile may be lost, so it is read again.
    await eventually(lambda: followers(target, channel) == 1 and len(received.rereads) > 1)
    second = await set_reaction(writer, "a:2", "x", "like")
    await eventually(lambda: (channel, second.version) in received.changes)
    feed.unsubscribe(channel)
    await set_reaction(writer, "a:3", "x", "like")
    await eventually(lambda: followers(target, channel) == 0)
    await end(running)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that moves of slots do not cross on a busy machine."""
    for module in (cluster_store, cluster_writer, node):
        monkeypatch.setattr(module, "DEADLINE", 20.0)


@pytest.mark.usefixtures("patient")
async def test_a_slot_that_goes_back_and_forth_loses_nothing(
    ring: Cluster, store: ClusterStore, writer: Any
) -> None:
    received = RecordingListener()
    feed = store.feed(received)
    running = asyncio.create_task(feed.run())
    channel = NAMES.item_channel(SITE.name, "x")
    feed.subscribe(channel)
    await eventually(lambda: feed.up and received.rereads == [channel])
    slot, source, target = places(ring, "x")
    moving, acked = True, 0

    async def react() -> None:
        nonlocal acked
        while moving:
            acked += 1
            await set_reaction(writer, f"a:{acked}", "x", "like")

    reacting = asyncio.create_task(react())
    for turn in range(9):
        before = acked
        await asyncio.to_thread(ring.move, slot, (target, source)[turn % 2])
        await eventually(lambda before=before: acked > before)
    moving = False
    await reacting
    check(ring, "x", {"like": acked, "dislike": 0})
    await eventually(lambda: followers(target, channel) == 1)
    last = await set_reaction(writer, "a:1", "x", "dislike")
    await eventually(lambda: (channel, last.version) in received.changes)
    await end(running)


async def test_an_item_of_many_buckets_is_audited_right_while_its_slot_moves_under_load(
    ring: Cluster, store: ClusterStore, writer: Any
) -> None:
    await asyncio.gather(*(set_reaction(writer, f"a:{visitor}", "big", "like") for visitor in range(300)))
    # A refusal leaves the outcome unknown, and what is acknowledged holds until the next reaction.
    maybe: dict[str, set[str | None]] = {}
    over, findings = False, Counter[Outcome]()

    async def react(first: int) -> None:
        number = first
        while not over:
            number += 4
            visitor, kind = f"a:{number % 600}", SITE.kinds[number // 600 % 2]
            answer = await submitted(writer, visitor, "big", kind)
            if isinstance(answer, Committed):
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


@pytest.mark.usefixtures("patient")
async def test_a_slot_that_is_half_moved(ring: Cluster, writer: Any, reader: Any) -> None:
    """Two small items in one slot: one has gone already, one has not, and a third has never been."""
    await set_reaction(writer, "a:1", "x", "like")
    slot, source, target = places(ring, "x")
    ring.begin_move(slot, source, target)
    assert (await set_reaction(writer, "a:2", "x", "like")).counts["like"] == 2
    assert ring.move_keys(slot, source, target) == 1
    # From here on the source sends on by ASK.
    assert (await set_reaction(writer, "a:3", "x", "like")).counts["like"] == 3
    assert (await read(reader, ["x"], "a:3"))[0].reaction == "like"
    ring.end_move(slot, source, target)
    assert (await set_reaction(writer, "a:4", "x", "dislike")).counts == {"like": 3, "dislike": 1}
    check(ring, "x", {"like": 3, "dislike": 1})


async def test_an_item_of_which_a_part_has_not_come_yet_is_refused_and_not_miscounted(
    ring: Cluster, store: ClusterStore, writer: Any
) -> None:
    size = 300
    await asyncio.gather(*(set_reaction(writer, f"a:{visitor}", "big", "like") for visitor in range(size)))
    slot, source, target = places(ring, "big")
    ring.begin_move(slot, source, target)
    # The item's own key alone: most of its members are still where they were.
    source.do("MIGRATE", "127.0.0.1", target.port, NAMES.item_key(SITE.name, "big"), 0, 5000)
    asked = [submitted(writer, f"a:{visitor}", "big", "dislike") for visitor in range(size)]
    answers = await asyncio.gather(*asked)
    assert {type(answer) for answer in answers} <= {Committed, Unavailable}
    assert any(isinstance(answer, Unavailable) for answer in answers)
    ring.move_keys(slot, source, target)
    ring.end_move(slot, source, target)
    state, _ = stored(ring.owner(NAMES.item_key(SITE.name, "big")).client, SITE.name, "big")
    assert sum(state.counts.values()) == size
    check(ring, "big", state.counts)
    for visitor in range(size):  # One by one: so many at once may pass their deadline on a busy machine.
        await set_reaction(writer, f"a:{visitor}", "big", "dislike")
    check(ring, "big", {"like": 0, "dislike": size})
    await moderation.reset(store, SITE.name, "big")
    check(ring, "big", {"like": 0, "dislike": 0})
