"""Reactions, updates and audits over the nodes of a cluster."""

import asyncio
from typing import Any

import pytest
from tallycast.engine.cluster.store import ClusterStore
from tallycast.engine.factory import open_store
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import EngineError
from tallycast.fanout import reconciler as reconciliation
from tallycast.fanout.fanout import Fanout
from tallycast.ledger import audit
from tallycast.ledger.audit import Outcome
from tallycast.ledger.writer import Committed

from tests.ledger.cluster.support import check
from tests.ledger.support import SITE, read, sequence, set_reaction, stored, submitted
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.parts import Silent
from tests.support.waiting import end, eventually


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
    assert all(isinstance(answer, Committed) for answer in answers)
    # In order for each item, though nothing waits.
    again = [submitted(writer, "a:0", "i/0", kind) for kind in ("dislike", None, "like", "dislike", "like")]
    versions = [answer.version for answer in await asyncio.gather(*again) if isinstance(answer, Committed)]
    assert versions == sorted(set(versions))
    assert len(versions) == 5
    states = await read(reader, items, "a:0")
    assert [(state.counts, state.reaction) for state in states] == [({"like": 1, "dislike": 1}, "like")] * 30
    for item in items:
        check(ring, item, {"like": 1, "dislike": 1})


async def test_what_was_missed_is_repaired_and_a_store_that_went_back_is_shown(
    ring: Cluster, store: ClusterStore, writer: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a feed, all is missed."""
    monkeypatch.setattr(reconciliation, "PERIOD", 0.2)
    monkeypatch.setattr(reconciliation, "GRACE", 0.2)
    later = asyncio.get_running_loop().call_later
    fanout = Fanout(lambda _listener: Silent(), reader.submit, NAMES, later)
    reconciler = fanout.reconciler
    running = asyncio.create_task(reconciler.run())
    topics = [fanout.hub.subscribe(SITE, f"i/{number}") for number in range(30)]
    await eventually(lambda: all(topic.version == 0 for topic in topics))
    for number in range(30):
        await set_reaction(writer, "a:1", f"i/{number}", "like")
    await eventually(lambda: all(topic.counts["like"] == 1 for topic in topics))
    assert reconciler.repairs == 30
    for node in ring.primaries:
        node.do("FLUSHALL")
    await eventually(lambda: all(topic.version == 0 for topic in topics))
    assert reconciler.repairs == 60
    await end(running)


async def test_the_same_of_a_secret_and_of_the_layout(store: ClusterStore, ring: Cluster) -> None:
    other = open_store(ring.url)
    assert await wait_until_ready(other, 5.0) == await wait_until_ready(store, 5.0)
    ring.owner(NAMES.layout.encode()).do("SET", NAMES.layout, "0")
    with pytest.raises(EngineError, match="another version"):
        await wait_until_ready(other, 5.0)
    await other.close()


async def test_all_items_are_audited(
    store: ClusterStore, writer: Any, ring: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for large in (500, 0):
        monkeypatch.setattr(audit, "LARGE", large)
        for number in range(10):
            await set_reaction(writer, f"a:{large}", f"i/{number}", "like")
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
