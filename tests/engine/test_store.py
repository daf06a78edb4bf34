"""The contract of ``Store``: the same tests for both implementations, on Redis and on Valkey."""

import asyncio
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import msgpack
import pytest
from tallycast.contract.errors import OutcomeUnknown, Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.engine import scripts
from tallycast.engine.factory import is_cluster, open_store
from tallycast.engine.keys import member
from tallycast.engine.scripts import Script
from tallycast.engine.startup import identify, wait_until_ready
from tallycast.engine.store import EngineError, Store
from tallycast.ledger import moderation
from tallycast.ledger.factory import build_reader, build_writer
from tallycast.ledger.layout import LUA
from tallycast.ledger.merge import Merge, Merger
from tallycast.ledger.reader import Query, State
from tallycast.ledger.writer import Committed, SetReaction

from tests.engine.support import Recorder
from tests.support.waiting import end, eventually

SITE = Site()
FREEZE, READ, WRITABLE = (
    Script(LUA, "freeze.lua", "layout.lua"),
    Script(LUA, "read.lua", "layout.lua"),
    Script(scripts.LUA, "writable.lua"),
)


@pytest.fixture
def item() -> str:
    """An item of this test's own."""
    return token_hex(8)


async def test_the_product_and_its_version(store: Store) -> None:
    assert (await identify(store)).startswith(("Valkey ", "Redis "))


async def test_all_links_get_the_same_secret(store: Store, store_url: str) -> None:
    other = open_store(store_url)
    assert await wait_until_ready(other, 10.0) == await wait_until_ready(store, 10.0)
    await other.close()


async def test_the_factory_picks_the_implementation(store: Store, store_url: str) -> None:
    assert store.partitioned is is_cluster(store_url)
    groups = store.partition([b"a", b"b", b"c"])
    assert sorted(index for group in groups for index in group) == [0, 1, 2]
    assert len(groups) == (3 if store.partitioned else 1)
    assert len(store.probe_keys()) == len(store.primaries()) == (3 if store.partitioned else 1)


async def test_commands(store: Store, item: str) -> None:
    key = store.namespace.index_key(SITE.name, item.encode())
    assert await store.execute("ZADD", key, 1, "x") == 1
    assert await store.execute("ZRANGE", key, 0, -1) == [b"x"]
    assert await store.execute("TYPE", key) == b"zset"
    seconds, micros = await store.execute("TIME")
    assert abs(time.time() - (int(seconds) + int(micros) / 1e6)) < 3600


async def test_an_error_of_the_engine_is_unavailable(store: Store, item: str) -> None:
    key = store.namespace.item_key(SITE.name, item)
    await store.execute("SET", key, "no item")
    for call in (store.execute("HGET", key, ""), store.run(READ, [key], b""), store.commit(FREEZE, [key], 1)):
        failures = store.health.failures
        with pytest.raises(Unavailable) as raised:
            await call
        assert not isinstance(raised.value, OutcomeUnknown)
        assert store.health.failures == failures + 1


async def test_keys_are_scanned(store: Store, item: str) -> None:
    keys = {store.namespace.item_key(item, str(number)) for number in range(50)}
    for key in keys:
        await store.execute("HSET", key, "field", 1)
    assert {key async for page in store.scan(store.namespace.item_pattern(item), 10) for key in page} == keys
    assert await store.size() >= 50


async def test_a_script_is_loaded_where_it_is_unknown(store: Store, item: str) -> None:
    """And again where the engine has lost its scripts."""
    key = store.namespace.item_key(SITE.name, item)
    for _ in range(2):
        _, answers, _ = msgpack.unpackb(await store.run(READ, [key], b""), raw=True)
        assert answers == [b"", b""]
        for primary in store.primaries():
            await primary.execute_raw("SCRIPT", "FLUSH")


async def test_a_commit_returns_the_answer(store: Store, item: str) -> None:
    key = store.namespace.item_key(SITE.name, item)
    assert [await store.commit(FREEZE, [key], 1) for _ in range(2)] == [1, 0]
    assert store.health.writable


async def test_a_commit_past_its_deadline_has_no_effect(store: Store, item: str) -> None:
    key = store.namespace.item_key(SITE.name, item)
    await store.commit(WRITABLE, [key])
    with pytest.raises(Unavailable, match="past its deadline"):
        await store.commit(FREEZE, [key], 1, until=time.monotonic() - 1)
    assert not await store.execute("EXISTS", key)
    assert await store.commit(FREEZE, [key], 1, until=time.monotonic() + 1) == 1


async def test_a_deadline_is_in_the_time_of_the_engine(store: Store, item: str) -> None:
    key = store.namespace.item_key(SITE.name, item)
    await store.commit(FREEZE, [key], 1)
    seconds, micros = await store.execute("TIME")
    age = store.age(int(seconds) * 1_000_000 + int(micros))
    assert age is not None
    assert age < 60


async def test_what_too_few_replicas_confirm_is_unavailable(store_url: str, item: str) -> None:
    strict = open_store(store_url, replicas=5)
    await strict.discover()
    with pytest.raises(Unavailable):
        await strict.commit(FREEZE, [strict.namespace.item_key(SITE.name, item)], 1)
    await strict.close()


async def test_a_reconnect_costs_no_call(store: Store, item: str) -> None:
    keys = [store.namespace.item_key(SITE.name, f"{item}{number}") for number in range(20)]
    calls = [asyncio.ensure_future(store.commit(FREEZE, [key], 1)) for key in keys]
    await asyncio.sleep(0)
    store.reconnect()
    assert await asyncio.gather(*calls) == [1] * 20
    assert [await store.commit(FREEZE, [key], 1) for key in keys] == [0] * 20


async def test_prefixes_keep_deployments_apart(store: Store, store_url: str, item: str) -> None:
    other = open_store(store_url, prefix="other:")
    await wait_until_ready(other, 10.0)
    await store.commit(FREEZE, [store.namespace.item_key(SITE.name, item)], 1)
    assert await other.commit(FREEZE, [other.namespace.item_key(SITE.name, item)], 1) == 1
    await other.close()


async def test_an_engine_that_does_not_answer() -> None:
    for url in ("unix:///nonexistent/engine.sock", "redis://127.0.0.1:1?cluster=true"):
        store = open_store(url)
        with pytest.raises(EngineError, match="does not answer"):
            await wait_until_ready(store, 0.0)
        for call in (store.execute("GET", "x"), store.commit(WRITABLE, [b"x"])):
            with pytest.raises(Unavailable):
                await call
        assert store.health.failures == 2
        await store.close()


async def test_the_feed_delivers_what_is_committed(store: Store, item: str) -> None:
    """Counts, resets, a visitor's own changes and its merge, each once and in order."""
    visitor, account = member(f"a:{item}"), member(f"u:{item}")
    channel = store.namespace.item_channel(SITE.name, item)
    own = store.namespace.visitor_channel(SITE.name, visitor)
    recorder = Recorder()
    feed = store.feed(recorder)
    feed.subscribe(channel)
    feed.subscribe(own)
    running = asyncio.create_task(feed.run())
    writer = build_writer(store)
    try:
        await eventually(lambda: feed.up and channel in recorder.reread_channels)
        await eventually(lambda: subscribed(store, own))
        first = await write(writer.submit, item, visitor, "like")
        assert first.counts == {"like": 1, "dislike": 0}
        await eventually(lambda: recorder.counts == [(channel, first.version, {"like": 1})])
        await eventually(lambda: recorder.reactions == [(own, item, "like", 7)])
        assert await merged(Merger(store), visitor, account)
        await eventually(lambda: recorder.retired_channels == [own])
        version = await moderation.reset(store, SITE.name, item)
        await eventually(lambda: recorder.resets == [(channel, version)])
        feed.unsubscribe(channel)
        await eventually(lambda: not_subscribed(store, channel))
        assert recorder.counts[-1] == (channel, version, {"like": 0})
    finally:
        await end(running)
        await writer.close()


async def test_what_is_written_is_read(store: Store, item: str) -> None:
    """Through the writer and the reader that the ledger's factory picks."""
    writer, reader = build_writer(store), build_reader(store)
    visitors = [member(f"a:{number}") for number in range(30)]
    items = [f"{item}{number}" for number in range(3)]
    await asyncio.gather(
        *(write(writer.submit, one, visitor, "like") for one in items for visitor in visitors)
    )
    await asyncio.gather(*(write(writer.submit, items[0], visitor, "dislike") for visitor in visitors[:10]))
    await write(writer.submit, items[1], visitors[0], None)
    future: asyncio.Future[list[State] | Refusal] = asyncio.get_running_loop().create_future()
    reader.submit(Query(SITE, [*items, f"{item}untouched"], "a:0", future.set_result))
    states = await future
    assert isinstance(states, list)
    assert [state.counts for state in states] == [
        {"like": 20, "dislike": 10},
        {"like": 29, "dislike": 0},
        {"like": 30, "dislike": 0},
        {"like": 0, "dislike": 0},
    ]
    assert [state.reaction for state in states] == ["dislike", None, "like", None]
    assert [bool(state.version) for state in states] == [True, True, True, False]
    await writer.close()
    await reader.close()


async def write(
    submit: Callable[[SetReaction], None], item: str, visitor: bytes, reaction: str | None
) -> Committed:
    """Set a reaction and wait; it must be confirmed."""
    future: asyncio.Future[Committed | Refusal] = asyncio.get_running_loop().create_future()
    submit(SetReaction(SITE, item, visitor, reaction, 7, future.set_result))
    result = await future
    assert isinstance(result, Committed), result
    return result


async def merged(merger: Merger, visitor: bytes, account: bytes) -> bool:
    """Whether a merge is confirmed."""
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    merger.submit(Merge(SITE.name, visitor, account, future.set_result))
    return await future is None


async def subscribed(store: Store, channel: bytes) -> bool:
    """Whether an engine or node has a subscription."""
    command = "SHARDNUMSUB" if store.partitioned else "NUMSUB"
    replies = [await primary.execute_raw("PUBSUB", command, channel) for primary in store.primaries()]
    return any(dict(zip(flat[::2], flat[1::2], strict=True))[channel] for flat in map(_flat, replies))


async def not_subscribed(store: Store, channel: bytes) -> bool:
    return not await subscribed(store, channel)


def _flat(reply: list[Any]) -> list[Any]:
    """redis-py makes pairs of it, where its client was used."""
    return [part for pair in reply for part in (pair if isinstance(pair, tuple) else (pair,))]
