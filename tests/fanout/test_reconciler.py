"""Missed updates are read from the store: at once where that is known, and otherwise in the next period."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallycast.contract.errors import Unavailable
from tallycast.domain.sites import Site
from tallycast.engine import feed
from tallycast.engine.clock import DEADLINE
from tallycast.engine.standalone import StandaloneStore
from tallycast.fanout import fanout as fanout_module
from tallycast.fanout import reconciler as module
from tallycast.fanout.fanout import Fanout
from tallycast.fanout.topic import Topic
from tallycast.ledger.reader import Query, StandaloneReader, State
from tallycast.ledger.writer import StandaloneWriter

from tests.ledger.support import set_reaction
from tests.support.names import NAMES
from tests.support.parts import Silent, ignore
from tests.support.waiting import end, eventually

SITE = Site()


class Reread:
    """A fan-out over a store that answers when the test says so."""

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.fanout = Fanout(lambda _listener: Silent(), self.queries.append, NAMES, ignore)
        self.hub = self.fanout.hub
        for item, version in (("x", 9), ("y", 9)):
            self.hub.subscribe(SITE, item)
            self.fanout.on_counts(NAMES.item_channel("default", item), version, {"like": version})

    def answer(self, item: str, answer: State | Unavailable) -> None:
        (query,) = (query for query in self.queries if query.items == [item])
        query.done(answer if isinstance(answer, Unavailable) else [answer])

    def versions(self) -> list[int]:
        return [self.hub.version(NAMES.item_channel("default", item)) for item in "xy"]


async def test_a_failed_reread_is_raised_and_the_others_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout_module, "ITEMS_PER_QUERY", 1)
    scene = Reread()
    channels = [NAMES.item_channel("default", item) for item in "xyz"]
    reading = asyncio.create_task(scene.fanout.reread(channels))
    await eventually(lambda: len(scene.queries) == 2)
    scene.answer("x", Unavailable("gone", retry_after=1.0))
    scene.answer("y", State(12, {"like": 12}, None))
    with pytest.raises(Unavailable):
        await reading
    assert scene.versions() == [9, 12]


async def test_a_store_that_went_back_is_published_and_a_superseded_read_is_not() -> None:
    scene = Reread()
    reading = asyncio.create_task(scene.fanout.reread([NAMES.item_channel("default", item) for item in "xy"]))
    await eventually(lambda: len(scene.queries) == 1)
    scene.fanout.on_counts(NAMES.item_channel("default", "y"), 10, {"like": 10})
    (query,) = scene.queries
    assert query.items == ["x", "y"]
    query.done([State(4, {"like": 4}, None)] * 2)
    await reading
    assert scene.versions() == [4, 10]


async def test_many_items_are_read_in_few_queries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_module, "ITEMS_PER_QUERY", 2)
    monkeypatch.setattr(fanout_module, "QUERIES_AT_ONCE", 3)
    scene = Reread()
    channels = [scene.hub.subscribe(SITE, str(i)).channel for i in range(15)]
    reading = asyncio.create_task(scene.fanout.reread(channels))
    answered: list[str] = []
    while len(answered) < len(channels):
        await eventually(lambda: bool(scene.queries) or reading.done())
        assert len(scene.queries) <= 3
        queries, scene.queries[:] = scene.queries[:], []
        for query in queries:
            assert len(query.items) <= 2
            answered += query.items
            query.done([State(1, {}, None)] * len(query.items))
    await reading
    assert sorted(answered) == sorted(map(str, range(15)))


async def test_sites_are_not_mixed() -> None:
    scene = Reread()
    other = Site("other")
    channels = [scene.hub.subscribe(site, "x").channel for site in (SITE, other)]
    reading = asyncio.create_task(scene.fanout.reread(channels))
    await eventually(lambda: len(scene.queries) == 2)
    assert {query.site for query in scene.queries} == {SITE, other}
    for query in scene.queries:
        query.done([State(12, {}, None)])
    await reading


# The steady comparison, with a real engine and no feed: every update is missed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.2)
    monkeypatch.setattr(module, "GRACE", 0.2)


class Scene:
    """A hub without updates, and its reconciler."""

    def __init__(self, link: StandaloneStore) -> None:
        self.writer = StandaloneWriter(link)
        self.reader = StandaloneReader(link)
        self.queries: list[Query] = []
        later = asyncio.get_running_loop().call_later
        fanout = Fanout(lambda _listener: Silent(), self.read, NAMES, later)
        self.reconciler, self.hub = fanout.reconciler, fanout.hub

    def read(self, query: Query) -> None:
        self.queries.append(query)
        self.reader.submit(query)

    async def known(self, item: str) -> Topic:
        """A watched item, with its stored counts."""
        topic = self.hub.subscribe(SITE, item)
        await eventually(lambda: topic.version >= 0)
        return topic


@pytest.fixture
async def scene(engine: str, quick: None) -> AsyncIterator[Scene]:
    link = StandaloneStore(engine)
    scene = Scene(link)
    running = asyncio.create_task(scene.reconciler.run())
    yield scene
    await end(running)
    await link.close()


async def test_a_missed_update_is_logged_counted_and_repaired(scene: Scene) -> None:
    x, y = await scene.known("x"), await scene.known("y")
    assert scene.reconciler.repairs == 0, "to read an item for the first time repairs nothing"
    with capture_logs() as logged:
        await set_reaction(scene.writer, "a:1", "x", "like")
        await eventually(lambda: x.counts == {"like": 1, "dislike": 0})
    assert scene.reconciler.repairs == 1
    assert [line["items"] for line in logged if line["event"].endswith("repaired")] == [1]
    assert y.version == 0


async def test_an_update_in_flight_is_not_missed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 5 * module.PERIOD)
    x = await scene.known("x")
    committed = await set_reaction(scene.writer, "a:1", "x", "like")
    # The store is ahead, before the feed delivers the update.
    before = len(scene.queries)
    await eventually(lambda: len(scene.queries) > before + 1)
    scene.hub.publish(x.channel, committed.version, committed.counts)
    await eventually(lambda: len(scene.queries) > before + 10)
    assert scene.reconciler.repairs == 0


async def test_a_store_that_went_back_is_published(scene: Scene, client: Any) -> None:
    x = await scene.known("x")
    committed = await set_reaction(scene.writer, "a:1", "x", "like")
    scene.hub.publish(x.channel, committed.version, committed.counts)
    await client.flushall()
    await eventually(lambda: x.version == 0)
    assert x.counts == {"like": 0, "dislike": 0}
    assert scene.reconciler.repairs == 1


async def test_a_state_read_before_the_store_went_back_is_not_published_after_it(
    scene: Scene, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 5 * module.PERIOD)
    x = await scene.known("x")
    committed = await set_reaction(scene.writer, "a:1", "x", "like")
    before = len(scene.queries)
    await eventually(lambda: len(scene.queries) > before + 1)
    # The update seems missed. It arrives after all, and then the store goes back.
    scene.hub.publish(x.channel, committed.version, committed.counts)
    await client.flushall()
    await eventually(lambda: x.version == 0)
    before = len(scene.queries)
    await eventually(lambda: len(scene.queries) > before + 10)
    assert (x.version, scene.reconciler.repairs) == (0, 1)


async def test_an_unwatched_item_is_not_compared(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallycast.fanout.hub.LINGER", -1.0)
    topic = await scene.known("x")
    scene.hub.unsubscribe(topic, None)  # type: ignore[arg-type]
    scene.hub.expire_idle()
    await scene.known("y")
    scene.queries.clear()
    await eventually(lambda: len(scene.queries) > 3)
    assert all(query.items == ["y"] for query in scene.queries)


def test_every_item_is_repaired_within_the_promised_time() -> None:
    """30 s: a period, one share more, the wait for updates in flight, and a slow read."""
    assert module.PERIOD + module.PERIOD / module.SHARES + module.GRACE + DEADLINE < 30
    assert feed.SILENCE + feed.HEARTBEAT_INTERVAL < 5, "until a link that is half open is left"


async def test_a_period_covers_every_item_evenly(scene: Scene) -> None:
    for i in range(2000):
        scene.hub.subscribe(SITE, str(i))
    before: list[Query] = scene.queries
    await eventually(lambda: len({item for query in before for item in query.items}) == 2000)
    assert max(len(query.items) for query in scene.queries) < 100, "a share is a small part"


async def test_an_outage_of_the_engine_stops_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    x = await scene.known("x")
    submit, refused = scene.reader.submit, 0

    def refuse(query: Query) -> None:
        nonlocal refused
        refused += 1
        query.refuse(Unavailable("gone", retry_after=1.0))

    monkeypatch.setattr(scene.reader, "submit", refuse)
    await set_reaction(scene.writer, "a:1", "x", "like")
    await eventually(lambda: refused > 1)
    monkeypatch.setattr(scene.reader, "submit", submit)
    await eventually(lambda: x.counts == {"like": 1, "dislike": 0})
