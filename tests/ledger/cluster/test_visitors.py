"""Merges, erasures and revocations over the nodes of a cluster."""

import asyncio
import time
from typing import Any

import pytest
from tallycast.access.revocations import Revocations, revoke
from tallycast.contract.errors import Refusal, Unauthorized, Unavailable
from tallycast.engine.clock import DEADLINE
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.keys import member
from tallycast.ledger import merge, moderation
from tallycast.ledger.cluster.writer import ClusterWriter
from tallycast.ledger.merge import Merger
from tallycast.ledger.visitor_reactions import VisitorReactions
from tallycast.ledger.writer import Committed

from tests.ledger.cluster.support import RecordingListener, check, merged
from tests.ledger.support import SITE, read, set_reaction, submitted
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.waiting import end, eventually


async def test_a_merge_across_the_cluster(
    ring: Cluster, store: ClusterStore, writer: Any, reader: Any
) -> None:
    items = [f"i/{number}" for number in range(20)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    await set_reaction(writer, "u:1", "i/0", "dislike")
    received = RecordingListener()
    feed = store.feed(received)
    running = asyncio.create_task(feed.run())
    feed.subscribe(NAMES.visitor_channel(SITE.name, member("a:1")))
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
    await eventually(lambda: received.gone != [])
    for item in items:
        check(ring, item, {"like": 1, "dislike": 0})
    await merger.close()
    await end(running)


async def test_a_reaction_that_was_half_written_when_its_visitor_was_retired_is_moved_too(
    ring: Cluster, store: ClusterStore, writer: ClusterWriter, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half: list[Any] = []
    with monkeypatch.context() as slow:
        slow.setattr(writer._items, "submit", lambda *step: half.append(step))
        waiting = submitted(writer, "a:1", "x", "like")
        await eventually(lambda: len(half) == 1)
    merger, index = Merger(store), NAMES.index_key(SITE.name, member("a:1"))
    moving = asyncio.create_task(merged(merger, "a:1", "u:1"))
    await eventually(lambda: ring.owner(index).client.type(index) == b"string")
    began = time.monotonic()
    await eventually(lambda: moving.done() or time.monotonic() - began > DEADLINE / 4)
    writer._items.submit(*half[0])
    answer = await waiting
    assert await moving is None
    # On a slow machine it may have come too late, and then it must not have been written at all.
    likes = int(isinstance(answer, Committed))
    state = (await read(reader, ["x"], "u:1"))[0]
    assert (state.counts["like"], state.reaction) == (likes, "like" if likes else None)
    check(ring, "x", {"like": likes})


async def test_all_that_a_visitor_holds_is_erased(
    store: ClusterStore, writer: Any, reader: Any, ring: Cluster
) -> None:
    for number in range(5):
        await set_reaction(writer, "u:1", f"i/{number}", "like")
    kept = VisitorReactions(store, reader.submit, writer.submit, Merger(store).finish_pending_merges)
    assert await kept.erase(SITE, "u:1") == 5
    index = NAMES.index_key(SITE.name, member("u:1"))
    assert not ring.owner(index).client.exists(index)
    for number in range(5):
        check(ring, f"i/{number}", {"like": 0, "dislike": 0})


async def test_revocations_and_moderation(store: ClusterStore, writer: Any) -> None:
    reply: list[tuple[str, bytes]] = []
    await revoke(store, SITE.name, "u:1")
    await Revocations(store, lambda site, visitor, at: reply.append((site, visitor))).refresh()
    assert reply == [(SITE.name, member("u:1"))]
    await set_reaction(writer, "a:1", "x", "like")
    assert await moderation.freeze(store, SITE.name, "x", frozen=True)
    assert isinstance(await submitted(writer, "a:2", "x", "like"), Refusal)


async def test_a_merge_that_was_cut_off_is_finished(
    store: ClusterStore, writer: Any, ring: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> bool:
        raise Unavailable("a node is away")

    items = [f"i/{number}" for number in range(10)]
    for item in items:
        await set_reaction(writer, "a:1", item, "like")
    with monkeypatch.context() as broken:
        broken.setattr(Merger, "move", away)
        assert isinstance(await merged(Merger(store), "a:1", "u:1"), Unavailable)
    for item in items:
        assert (await set_reaction(writer, "u:1", item, "dislike")).counts == {"like": 1, "dislike": 1}
    monkeypatch.setattr(merge, "IDLE_TIME", -60)
    other = Merger(store)
    await other.resume_idle()
    assert other.resumed == 1
    for item in items:
        check(ring, item, {"like": 0, "dislike": 1})
    assert not await store.execute("EXISTS", NAMES.merges)
