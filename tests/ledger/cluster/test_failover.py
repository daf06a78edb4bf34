"""A primary dies in the middle of batches and merges: what a replica confirmed is there, and counted once."""

import asyncio
import random
from typing import Any

import pytest
from tallycast.contract.errors import Refusal
from tallycast.engine import keys
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready
from tallycast.ledger import merge
from tallycast.ledger.cluster.writer import ClusterWriter
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.writer import Committed

from tests.ledger.support import SITE, stored, submitted
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.waiting import eventually

ITEMS = [f"i/{number}" for number in range(12)]
VISITORS, STRANGERS = 20, 8


class Visitor:
    """A visitor that reacts again and again, and knows what may be stored: for each item, any of these."""

    def __init__(self, number: int, writer: ClusterWriter) -> None:
        self.name = f"u:visitor-{number}"
        self.maybe: dict[str, set[str | None]] = {item: {None} for item in ITEMS}
        self.acks = 0
        self.over = False
        self._writer = writer
        self._dice = random.Random(number)

    async def react(self) -> None:
        while not self.over:
            item, kind = self._dice.choice(ITEMS), self._dice.choice((*SITE.kinds, None))
            answer = await submitted(self._writer, self.name, item, kind)
            if isinstance(answer, Committed):
                self.acks += 1
                self.maybe[item] = {kind}
            else:
                self.maybe[item].add(kind)
                await asyncio.sleep(0.02)


async def sign_in(merger: Merger, number: int) -> None:
    """A stranger becomes an account; asked again as long as it is not confirmed, as a page does."""
    answer: Refusal | None = Refusal("not yet")
    while answer is not None:
        done: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        stranger, account = keys.member(f"a:{number}"), keys.member(f"u:{number}")
        merger.submit(Merge(SITE.name, stranger, account, done.set_result))
        answer = await done


def held(ring: Cluster) -> dict[str, dict[bytes, str]]:
    """What each visitor holds, past the ledger; counts are that, and every index has at least that."""
    found: dict[str, dict[bytes, str]] = {}
    for item in ITEMS:
        owner: Any = ring.owner(NAMES.item_key(SITE.name, item)).client
        state, found[item] = stored(owner, SITE.name, item)
        for kind in state.counts:
            assert state.counts[kind] == list(found[item].values()).count(kind)
        for visitor in found[item]:
            index = NAMES.index_key(SITE.name, visitor)
            assert ring.owner(index).client.zscore(index, item) is not None
    return found


async def test_a_primary_dies_in_the_middle_of_batches_and_merges(
    fresh_ring: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(fresh_ring.url, replicas=1)
    assert isinstance(store, ClusterStore)
    await wait_until_ready(store, 10.0)
    writer, merger = ClusterWriter(store), Merger(store)
    for number in range(STRANGERS):
        for item in ITEMS:
            assert isinstance(await submitted(writer, f"a:{number}", item, "like"), Committed)
    visitors = [Visitor(number, writer) for number in range(VISITORS)]
    reacting = [asyncio.create_task(visitor.react()) for visitor in visitors]
    await eventually(lambda: all(visitor.acks > 10 for visitor in visitors))
    merging = [asyncio.create_task(sign_in(merger, number)) for number in range(STRANGERS)]
    indexes = [NAMES.index_key(SITE.name, keys.member(f"a:{number}")) for number in range(STRANGERS)]

    def begun() -> bool:
        return any(fresh_ring.owner(index).client.type(index) == b"string" for index in indexes)

    # Once the first is retired there is something to be left half done.
    await eventually(begun)
    dead = fresh_ring.owner(NAMES.item_key(SITE.name, ITEMS[0]))
    dead.kill()
    successor = fresh_ring.replica_of(dead)
    await eventually(lambda: successor.info("replication")["role"] == "master", within=60)
    dead.start()
    await eventually(lambda: successor.info("replication")["connected_slaves"] == 1, within=60)
    before = [visitor.acks for visitor in visitors]
    await eventually(
        lambda: all(visitor.acks > acks + 5 for visitor, acks in zip(visitors, before, strict=True)),
        within=60,
    )
    async with asyncio.timeout(60):
        await asyncio.gather(*merging)
    monkeypatch.setattr(merge, "IDLE_TIME", -60)
    await merger.resume_idle()
    assert not await store.execute("EXISTS", NAMES.merges)
    for visitor in visitors:
        visitor.over = True
    await asyncio.gather(*reacting)
    await writer.close()
    await merger.close()
    await store.close()

    found = await asyncio.to_thread(held, fresh_ring)
    for item in ITEMS:
        for visitor in visitors:
            holds = found[item].pop(keys.member(visitor.name), None)
            assert holds in visitor.maybe[item], (visitor.name, item)
        assert found[item] == {keys.member(f"u:{number}"): "like" for number in range(STRANGERS)}
